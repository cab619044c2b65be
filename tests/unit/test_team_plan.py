"""Plans and reviews of a team's lead: read in whatever a model writes, checked, refused with a reason."""

import msgspec
import pytest

from app.core.meeting_events import TeamPhase
from app.core.team_plan import (
    CONTRACTS_MAX,
    PHASES_MAX,
    RISKS_MAX,
    Contract,
    InvalidPlan,
    Plan,
    Review,
    Risk,
    find_cycle,
    longest_path,
    parse_plan,
    parse_review,
    resolve,
)
from tests.support.teams import EXPERTS, plan_of


def chain(*needs: tuple[str, str]) -> list[TeamPhase]:
    return [TeamPhase(id, id, id, "ada", tuple(on.split())) for id, on in needs]


def refused(text: str, **more: object) -> str:
    with pytest.raises(InvalidPlan) as error:
        parse_plan(text, EXPERTS, **more)  # type: ignore[arg-type]
    return str(error.value)


def test_a_whole_plan_is_read() -> None:
    plan = parse_plan(
        plan_of(
            ("a", "Bob", ""),
            ("b", "cy li", "a"),
            contracts=[{"provider": "bob", "consumer": "Ada", "deliverable": "a list", "phase": "A"}],
            risks=[{"risk": "Too late.", "severity": "low"}],
        ),
        EXPERTS,
    )
    assert plan == Plan(
        (TeamPhase("a", "A", "do a", "bob"), TeamPhase("b", "B", "do b", "cy", ("a",))),
        (Contract("bob", "ada", "a list", "a"),),
        (Risk("Too late.", "low"),),
    )


@pytest.mark.parametrize(
    "written",
    [
        "Here is my plan:\n```json\n{}\n```\nI hope you like it {{or not}}.",
        "<think>hm [1]</think> {}",
        '{{"plan": {}}}',
    ],
)
def test_a_plan_is_found_in_what_stands_around_it(written: str) -> None:
    inner = plan_of(("a", "Bob", ""))
    assert parse_plan(written.format(inner), EXPERTS).phases == (TeamPhase("a", "A", "do a", "bob"),)


def test_commas_too_many_are_taken_out() -> None:
    plan = parse_plan('{"phases": [{"id": "a", "task": "count, then stop", "owner": "bob",},\n],}', EXPERTS)
    assert plan.phases == (TeamPhase("a", "count, then stop", "count, then stop", "bob"),)


def test_other_common_names_of_fields_are_understood() -> None:
    written = {
        "phases": [
            {"phase_id": 1, "title": "Facts", "description": "find them", "assignee": "@BOB"},
            {"phase_id": 2, "goal": "write it", "expert": " Cy Li ", "dependencies": [1]},
            {"task": "check it", "member": "ada", "dependsOn": "facts, 2"},
            {"task": "print it", "depends_on": "none"},
        ]
    }
    plan = parse_plan(msgspec.json.encode(written).decode(), EXPERTS)
    assert plan.phases == (
        TeamPhase("1", "Facts", "find them", "bob"),
        TeamPhase("2", "write it", "write it", "cy", ("1",)),
        TeamPhase("p3", "check it", "check it", "ada", ("1", "2")),
        TeamPhase("p4", "print it", "print it", "ada"),
    )


def test_an_owner_who_is_not_there_is_named_and_the_lead_takes_the_phase() -> None:
    plan = parse_plan(plan_of(("a", "Zoe", ""), ("b", "", "")), EXPERTS)
    assert [phase.owner for phase in plan.phases] == ["ada", "ada"]
    assert plan.unknown_owners == (("A", "Zoe"),)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "There is no JSON object in it."),
        ("null", "There is no JSON object in it."),
        ('{"phases": [{"id": "a"', "The JSON object in it is not valid"),
        ("[" * 10_000, "There is no JSON object in it."),
        ('{"a":' * 10_000, "The JSON object in it is not valid (it is nested too deeply)."),
        ("x" * 300_000, "It has 300000 characters"),
        ("{} {}", "There are 2 JSON objects in it; write exactly one."),
        ("{}", 'The JSON object has no list "phases".'),
        ('{"phases": {"id": "a"}}', 'The JSON object has no list "phases".'),
        ('{"phases": "a, b"}', 'The JSON object has no list "phases".'),
        ('{"phases": [1, null, "x"]}', 'There is no new phase in "phases"; write at least one.'),
        ('{"phases": [{"id": "a", "task": [1]}]}', 'Phase 1 has no "task"; say what is to be done in it.'),
        (
            plan_of(("a", "", ""), ("A", "", "")),
            "The id 'A' is there twice; every phase has an id of its own.",
        ),
        (
            plan_of(("a", "", ""), ("b", "", "z")),
            "Phase b depends on 'z', which is no phase. Phases are: a, b.",
        ),
        (plan_of(("a", "", "a")), "The phases depend on one another in a circle: a -> a."),
        (
            plan_of(("s", "", ""), ("a", "", "s c"), ("b", "", "a"), ("c", "", "b"), ("e", "", "c")),
            "The phases depend on one another in a circle: a -> c -> b -> a.",
        ),
        (
            plan_of(*((f"p{n}", "", "") for n in range(13))),
            "There are more than 12 phases; make do with fewer.",
        ),
        (plan_of(*((f"p{n}", "", "") for n in range(500))), "There are more than 12 phases"),
    ],
)
def test_what_cannot_be_carried_out_is_refused_with_the_reason(text: str, reason: str) -> None:
    assert refused(text).startswith(reason)


def test_texts_are_bounded_and_can_be_stored() -> None:
    written = {
        "phases": [{"id": "i" * 999, "name": "n\0" * 999, "task": "t" * 99_999, "owner": "bob"}],
        "contracts": [{"provider": "bob", "consumer": "cy", "deliverable": f"d{n}"} for n in range(99)],
        "risks": [f"r{n}" for n in range(99)],
    }
    plan = parse_plan(msgspec.json.encode(written).decode(), EXPERTS)
    (phase,) = plan.phases
    assert (len(phase.id), len(phase.name), len(phase.task)) == (40, 100, 4_000)
    assert "\0" not in phase.name
    assert (len(plan.contracts), len(plan.risks)) == (CONTRACTS_MAX, RISKS_MAX)


def test_a_contract_without_a_phase_is_due_with_the_providers_last_one_and_one_with_strangers_is_none() -> (
    None
):
    contracts = [
        {"provider": "bob", "consumer": "cy", "deliverable": "a list"},
        {"provider": "cy", "consumer": "bob", "deliverable": "a text"},
        {"from": "bob", "to": "ada", "content": "a sum", "phase": "nowhere"},
        {"provider": "zoe", "consumer": "cy", "deliverable": "a song"},
        {"provider": "bob", "consumer": "cy"},
        "a promise",
    ]
    plan = parse_plan(plan_of(("a", "bob", ""), ("b", "bob", ""), contracts=contracts), EXPERTS)
    assert plan.contracts == (
        Contract("bob", "cy", "a list", "b"),
        Contract("cy", "bob", "a text", ""),
        Contract("bob", "ada", "a sum", "b"),
    )


def test_the_severity_of_a_risk_is_one_of_three() -> None:
    severities = ["LOW", "critical", "soso", None]
    risks = [{"risk": "r", "severity": severity} for severity in severities]
    plan = parse_plan(plan_of(("a", "", ""), risks=[*risks, "fire", 7, {"x": 1}]), EXPERTS)
    assert [risk.severity for risk in plan.risks] == ["low", "high", "medium", "medium", "medium", "medium"]
    assert [risk.risk for risk in plan.risks][-2:] == ["fire", "7"]


def test_a_new_plan_may_need_what_goes_on_and_passes_over_what_is_written_down_again() -> None:
    kept = (TeamPhase("a", "Facts", "t", "bob", (), "completed"),)
    plan = parse_plan(plan_of(("A", "cy", ""), ("x", "cy", "facts")), EXPERTS, kept=kept)
    assert plan.phases == (TeamPhase("x", "X", "do x", "cy", ("a",)),)
    assert refused(plan_of(("a", "cy", "")), kept=kept).startswith("There is no new phase")


def test_a_new_plan_has_room_for_what_goes_on() -> None:
    kept = tuple(TeamPhase(f"k{n}", "k", "t", "bob", (), "running") for n in range(PHASES_MAX - 1))
    assert len(parse_plan(plan_of(("x", "", "k1")), EXPERTS, kept=kept).phases) == 1
    assert "more than 1 phases" in refused(plan_of(("x", "", ""), ("y", "", "")), kept=kept)


@pytest.mark.parametrize(
    ("name", "id"),
    [("BOB", "bob"), (" bob ", "bob"), ("@bob", "bob"), ("cy li", "cy"), ("", None), ("bobby", None)],
)
def test_a_member_is_found_by_id_or_name_in_any_letters(name: str, id: str | None) -> None:
    assert resolve(name, EXPERTS) == id


def test_cycles_are_found_and_lengths_measured() -> None:
    assert find_cycle(chain(("a", ""), ("b", "a"), ("c", "a b"))) == ()
    assert find_cycle(chain(("a", "gone"))) == (), "what is not in the list is no part of a circle"
    assert find_cycle(chain(("a", "b"), ("b", "a"))) == ("a", "b", "a")
    assert longest_path([]) == 0
    assert longest_path(chain(("a", ""), ("b", ""))) == 1
    assert longest_path(chain(("c", "b"), ("b", "a"), ("a", ""), ("d", "a"))) == 3


@pytest.mark.parametrize(
    ("text", "review"),
    [
        ('{"accepted": true}', Review(accepted=True)),
        ('Well: {"accepted": false, "comment": " No. "}', Review(accepted=False, comment="No.")),
        ('{"accepted": "Yes", "reason": "ok"}', Review(accepted=True, comment="ok")),
        ('{"verdict": "REJECTED", "feedback": "no"}', Review(accepted=False, comment="no")),
        ('{"accepted": 0, "comment": 7,}', Review(accepted=False, comment="7")),
        (
            '{"accepted": true, "risks": ["fire", {"risk": "ice", "severity": "high"}]}',
            Review(accepted=True, risks=(Risk("fire"), Risk("ice", "high"))),
        ),
        ("Accepted!", Review(accepted=True, comment="Accepted!", understood=False)),
        ('{"accepted": "maybe"}', Review(accepted=True, comment='{"accepted": "maybe"}', understood=False)),
        ("", Review(accepted=True, understood=False)),
    ],
)
def test_a_review_is_read_and_without_a_clear_verdict_accepts(text: str, review: Review) -> None:
    assert parse_review(text) == review


def test_what_is_kept_of_an_unclear_review_is_bounded_and_can_be_stored() -> None:
    review = parse_review("x\0" * 999)
    assert len(review.comment) == 500
    assert "\0" not in review.comment
