"""`plan_exec`: phases, which tools they allow, and how one gives way to the next."""

import msgspec
import pytest

from app.agents.plan_exec import ADVANCE, ADVANCE_SPEC, default_phases, plan_exec
from app.core.acting import LAST_CALL, PARALLEL_CALLS_MAX, TOO_MANY_CALLS
from app.core.events import Effect, PhaseChanged, PhasePolicy, PhaseViolated, RunLimits, ToolRef
from app.core.intents import CallTool, RunStart
from app.core.messages import ChatMessage, ToolCall
from tests.support.modes import Played, drive, said, spec, texts

LOOK, WRITE = spec("look"), spec("write")
PHASES = (
    PhasePolicy("explore", ("look",), "Look around."),
    PhasePolicy("plan", ()),
    PhasePolicy("execute"),
    PhasePolicy("verify", ("look",), "Check."),
)
START = RunStart("Tidy up", "Be brief.", tools=(LOOK, WRITE), limits=RunLimits(max_steps=12), phases=PHASES)


def call(name: str, id: str = "1", **arguments: str) -> ToolCall:
    return ToolCall(id, name, msgspec.json.encode(arguments).decode())


def results(played: Played, request: int) -> list[str]:
    """The tool results that end this request."""
    messages = played.requests[request].messages
    asked = max(n for n, message in enumerate(messages) if message.role == "assistant")
    return [message.content or "" for message in messages[asked + 1 :]]


def offered(played: Played) -> list[list[str]]:
    return [[tool.name for tool in request.tools] for request in played.requests]


ADVANCING = call(ADVANCE, summary="seen")


def test_phases_change_by_the_tool_and_each_offers_only_its_own_tools() -> None:
    played = drive(plan_exec(START), [*(said("", ADVANCING) for _ in range(3)), said("Tidy.")])
    assert played.answer == "Tidy."
    assert played.notes == [
        PhaseChanged("explore"),
        PhaseChanged("plan", "explore", "seen"),
        PhaseChanged("execute", "plan", "seen"),
        PhaseChanged("verify", "execute", "seen"),
    ]
    assert offered(played) == [["look", ADVANCE], [ADVANCE], ["look", "write", ADVANCE], ["look"]]
    assert played.calls == []  # the mode answers `advance_phase` itself


def test_the_model_is_told_of_every_phase_when_it_begins() -> None:
    played = drive(plan_exec(START), [*(said("", ADVANCING) for _ in range(3)), said("Tidy.")])
    system = texts(played.requests[0])[0]
    assert system.startswith("Be brief.")
    assert "explore, plan, execute, verify" in system
    assert (
        "[Phase 1 of 4: explore] Look around. Tools of this phase: look. Tools of later phases: write."
        in (system)
    )
    assert results(played, 1) == [
        "[Phase 2 of 4: plan] Tools of this phase: none. Tools of later phases: look, write."
    ]
    assert results(played, 3) == [
        "[Phase 4 of 4: verify] Check. Tools of this phase: look. "
        "End it with the whole answer to the user, in their language."
    ]


def test_a_text_without_a_tool_call_is_the_phases_result_and_begins_the_next() -> None:
    played = drive(plan_exec(START), [said("seen"), said("planned"), said("done"), said("Tidy.")])
    assert [note.phase for note in played.notes if isinstance(note, PhaseChanged)] == [
        "explore", "plan", "execute", "verify",
    ]  # fmt: skip
    assert played.answer == "Tidy."
    assert [m.content for m in played.requests[3].messages if m.role == "assistant"] == [
        "seen",
        "planned",
        "done",
    ]


def test_a_tool_that_the_phase_does_not_allow_is_not_called_and_the_model_is_told_what_is() -> None:
    played = drive(plan_exec(START), [said("", call("write")), said("a"), said("b"), said("c"), said("d")])
    assert played.calls == []
    assert played.notes[1] == PhaseViolated("explore", "write", ("look", ADVANCE), "1")
    assert results(played, 1) == [
        "Not called: the phase explore does not allow write. It allows: look, advance_phase."
    ]


def test_in_one_answer_the_allowed_are_called_the_others_refused_and_the_phase_changes_behind_them() -> None:
    calls = (
        call("write", "1"),
        call(ADVANCE, "2", reason="seen"),
        call("look", "3"),
        call(ADVANCE, "4"),
        call("look", "5"),
    )
    played = drive(plan_exec(START), [said("hm", *calls), said("planned"), said("done"), said("Tidy.")])
    assert played.shape[:6] == ["note", "model", "note", "tool+tool", "note", "listen"]
    assert played.notes[1:3] == [
        PhaseViolated("explore", "write", ("look", ADVANCE), "1"),
        PhaseChanged("plan", "explore", "seen"),
    ]
    assert played.asked[3] == (CallTool(calls[2]), CallTool(calls[4]))
    told = [m for m in played.requests[1].messages if m.role == "tool"]
    assert [m.tool_call_id for m in told] == ["1", "2", "3", "4", "5"]
    assert (
        told[0].content
        == "Not called: the phase explore does not allow write. It allows: look, advance_phase."
    )
    assert (told[1].content or "").startswith("[Phase 2 of 4: plan]")
    assert [told[2].content, told[4].content] == ["look says so"] * 2
    assert told[3].content == "The phase plan has begun already."


def test_the_last_phase_cannot_be_advanced() -> None:
    answers = [said("a"), said("b"), said("c"), said("", ADVANCING), said("Tidy.")]
    played = drive(plan_exec(START), answers)
    assert played.notes[-1] == PhaseViolated("verify", ADVANCE, ("look",), "1")
    assert played.answer == "Tidy."


def test_a_phase_that_allows_everything_passes_on_also_what_nobody_knows() -> None:
    # The run answers an unknown tool with those that there are, as in every mode.
    played = drive(plan_exec(START), [said("a"), said("b"), said("", call("teleport")), said("c"), said("d")])
    assert [one.name for one in played.calls] == ["teleport"]
    assert not any(isinstance(note, PhaseViolated) for note in played.notes)


def test_calls_beyond_the_limit_neither_advance_nor_violate() -> None:
    many = tuple(call("look", str(n)) for n in range(PARALLEL_CALLS_MAX))
    answer = said("", *many, call(ADVANCE, "a"), call("write", "w"))
    played = drive(plan_exec(START), [answer, said("a"), said("b"), said("c"), said("d")])
    assert results(played, 1)[-2:] == [TOO_MANY_CALLS] * 2
    assert played.notes[1] == PhaseChanged("plan", "explore", "")  # by the text "a"


@pytest.mark.parametrize("arguments", ["", "[", "[]", '{"summary": 3}', '{"reason": null}'])
def test_a_phase_changes_whatever_the_arguments_are(arguments: str) -> None:
    played = drive(
        plan_exec(START),
        [said("", ToolCall("1", ADVANCE, arguments)), said("b"), said("c"), said("d")],
    )
    assert played.notes[1] == PhaseChanged("plan", "explore", "")


def test_a_reason_is_kept_as_postgres_can_hold_it() -> None:
    played = drive(
        plan_exec(START),
        [said("", ToolCall("1", ADVANCE, r'{"summary": "a\u0000b"}')), said("b"), said("c"), said("d")],
    )
    assert played.notes[1] == PhaseChanged("plan", "explore", "a�b")


def test_when_the_steps_are_used_up_it_answers_from_what_is_known_in_whatever_phase() -> None:
    start = msgspec.structs.replace(START, limits=RunLimits(max_steps=3))
    played = drive(plan_exec(start), [said("", call("look")), said("", call("look")), said("So far: dust.")])
    assert played.answer == "So far: dust."
    assert played.requests[-1].tools == ()
    assert texts(played.requests[-1])[-1].endswith(LAST_CALL)
    assert not any(m.role == "tool" or m.tool_calls for m in played.requests[-1].messages)
    assert played.notes == [PhaseChanged("explore")]


@pytest.mark.parametrize("steps", [4, 12])
def test_where_the_end_says_nothing_the_last_result_of_a_phase_is_the_answer(steps: int) -> None:
    start = msgspec.structs.replace(START, limits=RunLimits(max_steps=steps))
    played = drive(plan_exec(start), [said("seen"), said(" "), said("done"), said(" \n")])
    assert played.answer == "done"


def test_it_listens_before_every_call_but_the_first_and_before_the_end() -> None:
    start = msgspec.structs.replace(START, phases=PHASES[:2])
    played = drive(
        plan_exec(start),
        [said("", call("look")), said("seen"), said("Tidy."), said("Tidier.")],
        heard={0: ("The attic too.",), 2: ("And the cellar.",)},
    )
    assert played.shape == [
        "note", "model", "tool", "listen", "model", "note", "listen", "model", "listen", "model", "listen",
    ]  # fmt: skip
    assert played.requests[1].messages[-1] == ChatMessage("user", "The attic too.")
    assert played.requests[3].messages[-2:] == (
        ChatMessage("assistant", "Tidy."),
        ChatMessage("user", "And the cellar."),
    )
    assert played.answer == "Tidier."


def test_a_single_phase_is_the_last_one() -> None:
    played = drive(plan_exec(msgspec.structs.replace(START, phases=PHASES[:1])), [said("Tidy.")])
    assert offered(played) == [["look"]]
    assert played.answer == "Tidy."


def test_a_tool_of_the_same_name_does_not_hide_advance_phase() -> None:
    start = msgspec.structs.replace(START, tools=(spec(ADVANCE), LOOK), phases=PHASES[2:])
    played = drive(plan_exec(start), [said("", ADVANCING), said("Tidy.")])
    assert played.requests[0].tools == (LOOK, ADVANCE_SPEC)
    assert played.calls == []


def test_by_default_only_executing_may_change_things() -> None:
    def ref(name: str, effect: Effect) -> ToolRef:
        return ToolRef(spec(name), effect, 1.0)

    policies = default_phases((ref("look", "pure"), ref("save", "idempotent"), ref("pay", "once")))
    assert [(policy.name, policy.tools) for policy in policies] == [
        ("explore", ("look",)),
        ("plan", ()),
        ("execute", None),
        ("verify", ("look",)),
    ]
    assert all(policy.instruction for policy in policies)


def test_without_phases_no_tool_is_allowed_before_executing() -> None:
    start = msgspec.structs.replace(START, phases=())
    played = drive(plan_exec(start), [said("a"), said("b"), said("c"), said("d")])
    assert offered(played) == [[ADVANCE], [ADVANCE], ["look", "write", ADVANCE], []]
