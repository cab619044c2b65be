"""Given events of each mode, how far its task is and what it says of it."""

import msgspec

from app.core import events as ev
from app.core.meeting_events import TeamPhase
from app.core.messages import ModelAnswer
from app.core.note_events import PlanStep
from projections import tasks
from projections.projection import fold_all
from projections.tasks import Task
from tests.support.projected import START, Book, task

RUN = task(1)
LONG = "word " * 100


def told(mode: str, *events: ev.Event, **fields: object) -> list[Task]:
    """The task after each of the events."""
    book = Book()
    limits = ev.RunLimits(max_steps=4)
    book.add(ev.RunRequested("m1", "hi", "assistant", mode, 1, limits=limits, **fields), RUN)
    book.add(ev.RunClaimed("w", 1), RUN)
    rows: list[Task] = []
    for event in events:
        book.add(event, RUN)
        rows += fold_all(tasks.PROJECTION, book.page(tasks.PROJECTION).entries).values()
    return rows


def progress(rows: list[Task]) -> list[float]:
    return [row.progress for row in rows]


def raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


def answered(step: int = 1) -> ev.ModelAnswered:
    return ev.ModelAnswered(step, "k", ModelAnswer("m", "x"))


def called(name: str = "clock") -> ev.ToolCalled:
    return ev.ToolCalled(1, "k", "c", name, "{}")


def test_plan_exec_is_as_far_as_its_phases() -> None:
    phases = tuple(ev.PhasePolicy(name) for name in ("explore", "plan", "execute", "verify"))
    rows = told(
        "plan_exec",
        ev.PhaseChanged("explore"),
        answered(),
        ev.PhaseChanged("plan", "explore"),
        ev.PhaseChanged("execute", "plan"),
        called(),
        answered(),
        phases=phases,
    )
    assert progress(rows) == [0, 0, 0.25, 0.5, 0.5, 0.5]
    assert [row.progress_message for row in rows] == [
        "explore",
        "explore",
        "plan",
        "execute",
        "clock",
        "execute",
    ]
    assert rows[-1].metadata.phases == {
        "explore": "completed",
        "plan": "completed",
        "execute": "running",
        "verify": "pending",
    }


def test_rewoo_is_as_far_as_its_plan() -> None:
    plan = ev.PlanDrafted((PlanStep("find", "#E1", "search"), PlanStep("think", "#E2", "LLM")))
    rows = told("rewoo", answered(1), plan, called("search"), answered(3), answered(4))
    assert progress(rows) == [0.25, 0.25, 1 / 3, 2 / 3, 0.95]
    assert rows[2].progress_message == "search"


def test_reflexion_goes_on_where_an_attempt_is_not_accepted_and_says_why() -> None:
    rows = told(
        "reflexion",
        answered(1),
        ev.AttemptCritiqued(1, False, f"Not\n good: {LONG}"),
        answered(2),
        ev.AttemptCritiqued(2, True, "Good."),
    )
    assert progress(rows) == [0.25, 0.25, 0.5, 0.95]
    message = rows[1].progress_message or ""
    assert message.startswith("Not good: word")
    assert (len(message), message[-1]) == (200, "…")


def test_one_call_is_all_of_direct_chat_so_only_its_end_counts() -> None:
    rows = told("direct_chat", answered(), ev.MessageAnswered("m2", "hi"), ev.RunCompleted(1))
    assert progress(rows) == [0, 0, 1]


def test_a_team_never_goes_back_when_it_plans_anew() -> None:
    one, two = (TeamPhase(name, name.upper(), "do it", "ana") for name in ("p1", "p2"))
    rows = told(
        "team_collab",
        ev.PlanUpdated((one, two)),
        ev.PhaseStarted("p1", "P1", "ana"),
        ev.PhaseCompleted("p1", "P1", "ana", "done"),
        ev.PlanUpdated((one, two)),
    )
    assert progress(rows) == [0, 0, 0.5, 0.5]
    assert rows[1].progress_message == "P1"


def test_a_task_that_waits_says_for_what() -> None:
    rows = told(
        "react",
        ev.HumanAsked("q", 1, "Which\ncolour?", START),
        ev.ConfirmationRequested("n", 2, "shell", "rm -r x", "why", "d", START),
        ev.HumanAnswered("q", "red", "user:alice"),
        ev.ConfirmationAnswered("n", True, "d", "user:alice"),
    )
    assert [(row.status, row.progress_message) for row in rows] == [
        ("waiting", "Which colour?"),
        ("waiting", "rm -r x"),
        ("waiting", "rm -r x"),
        ("running", None),
    ]


def test_what_the_client_gave_is_kept_apart_from_what_the_service_knows() -> None:
    given = {"mode": "mine", "deep": {"a": [1, None]}}
    asked = {"message": "hi", "ticket": 7}
    encoded = {"metadata": raw(given), "input_data": raw(asked)}
    (row,) = told("react", answered(), **encoded)
    assert (row.client_metadata, row.metadata.mode) == (given, "react")
    assert (row.input_data.given, row.input_data.message) == (asked, "hi")
