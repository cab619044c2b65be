"""Given events, the record of a task."""

import pytest

from app.core import events as ev
from app.core.messages import ModelAnswer, Usage
from projections import tasks
from projections.page_cursors import InvalidPageCursor
from projections.projection import fold, fold_all, touched_by
from projections.tasks import Cursor, Task, TaskInput, TaskOutput
from tests.support.projected import START, Book, requested, task

RUN = task(1)


def rows(book: Book) -> list[Task]:
    return list(fold_all(tasks.PROJECTION, book.page(tasks.PROJECTION).entries).values())


def running() -> Book:
    book = Book()
    book.add(requested("hi", skill="math", limits=ev.RunLimits(max_steps=4)), RUN)
    book.add(ev.RunClaimed("w", 1), RUN)
    return book


def test_a_requested_task_is_pending() -> None:
    book = Book()
    book.add(requested("hi", skill="math", sources=("a",)), RUN)
    (row,) = rows(book)
    assert (row.task_id, row.owner, row.conversation_id, row.stream) == (
        RUN,
        "alice",
        "c1",
        "conversation/alice/c1",
    )
    assert (row.status, row.agent_name, row.skill_name, row.progress) == ("pending", "assistant", "math", 0)
    assert row.input_data == TaskInput("hi", "m1", ("a",))
    assert (row.started_at, row.completed_at, row.first_offset) == (None, None, 1)


def test_a_claimed_task_runs_since_its_first_claim() -> None:
    book = running()
    book.add(ev.RunClaimed("other", 2), RUN)
    (row,) = rows(book)
    assert (row.status, row.started_at) == ("running", book.recorded[1].recorded_at)


def test_progress_follows_the_steps_and_is_whole_only_at_the_end() -> None:
    book = running()
    seen = []
    for step in range(1, 7):
        book.add(ev.ModelAnswered(step, "k", ModelAnswer("small", "x", usage=Usage(10, 1))), RUN)
        seen.append(rows(book)[0].progress)
    assert seen == [0.25, 0.5, 0.75, 0.95, 0.95, 0.95]
    book.add(ev.ToolCalled(7, "k", "c", "clock", "{}"), RUN)
    (row,) = rows(book)
    assert (row.progress_message, row.metadata.usage, row.metadata.model) == ("clock", Usage(60, 6), "small")
    book.add(ev.MessageAnswered("m2", "hello"), RUN)
    book.add(ev.RunCompleted(3, 1, Usage(5, 6), 70), RUN)
    (row,) = rows(book)
    assert (row.status, row.progress, row.progress_message) == ("completed", 1.0, None)
    assert row.output_data == TaskOutput("hello", "m2")
    assert row.completed_at == book.recorded[-1].recorded_at
    assert (row.metadata.steps, row.metadata.tool_calls, row.metadata.usage) == (3, 1, Usage(5, 6))


def test_a_failed_task_says_why() -> None:
    book = running()
    book.add(ev.RunFailed("model_error", "The model is away."), RUN)
    (row,) = rows(book)
    assert (row.status, row.error_message, row.metadata.error_class) == (
        "failed",
        "The model is away.",
        "model_error",
    )


def test_a_cancelled_task_keeps_what_there_was() -> None:
    book = running()
    book.add(ev.MessageInterrupted("m2", "Hel"), RUN)
    book.add(ev.RunCancelled("user:alice"), RUN)
    (row,) = rows(book)
    assert (row.status, row.metadata.cancelled_by) == ("cancelled", "user:alice")
    assert row.output_data == TaskOutput("Hel", "m2", partial=True)


def test_a_late_claim_does_not_open_an_ended_task() -> None:
    book = running()
    book.add(ev.RunCompleted(), RUN)
    book.add(ev.RunClaimed("late", 2), RUN)
    assert rows(book)[0].status == "completed"


def test_a_deletion_forgets_the_tasks_of_its_conversation_only() -> None:
    book = running()
    book.add(requested(), task(2), "conversation/alice/c2")
    book.add(ev.ConversationDeleted("c1"))
    book.add(ev.RunCompleted(), RUN)
    assert [row.task_id for row in rows(book)] == [task(2)]


def test_a_deletion_forgets_a_task_of_an_earlier_page_that_speaks_up_after_it_in_the_same_page() -> None:
    book = running()
    known = fold_all(tasks.PROJECTION, book.page(tasks.PROJECTION).entries)
    book.recorded.clear()
    book.add(ev.ConversationDeleted("c1"))
    book.add(ev.RunCompleted(), RUN)
    entries = book.page(tasks.PROJECTION).entries
    result = fold(tasks.PROJECTION, known, entries, touched_by(tasks.PROJECTION, entries))
    assert result.rows == {(RUN,): None}


def test_cursors_survive_the_wire() -> None:
    cursor = Cursor(START, RUN)
    assert tasks.parse_cursor(str(cursor)) == cursor
    assert "+" not in str(cursor)


def test_a_cursor_of_another_time_zone_is_the_same_moment() -> None:
    moved = tasks.parse_cursor(f"2026-01-01T02:00:00.5+02:00:00.5~{RUN}")
    assert moved == Cursor(START, RUN)
    assert str(moved) == str(Cursor(START, RUN))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        f"2026-01-01~{RUN}",
        "2026-01-01T00:00:00Z~x",
        f"0001-01-01T00:00:00+14:00~{RUN}",
        f"2026-01-01T00:00:00Z~{RUN}\0",
    ],
)
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(InvalidPageCursor):
        tasks.parse_cursor(text)


def test_a_task_waits_while_anything_that_it_asked_is_open() -> None:
    book = running()
    seen = []
    for event in (
        ev.HumanAsked("q", 2, "Which?", START),
        ev.ConfirmationRequested("n", 3, "shell", "ls", "why", "d", START),
        ev.RunClaimed("other", 2),
        ev.HumanAnswered("q", "red", "user:alice"),
        ev.ConfirmationExpired("n", "deadline"),
        ev.ConfirmationRequested("o", 4, "shell", "ls", "why", "d", START),
        ev.ConfirmationAnswered("o", True, "d", "user:alice"),
        ev.HumanAsked("p", 5, "When?", START),
        ev.HumanUnanswered("p", "run_ended"),
    ):
        book.add(event, RUN)
        (row,) = rows(book)
        seen.append((row.status, row.metadata.waits_for))
    assert seen == [
        ("waiting", ("q",)),
        ("waiting", ("q", "n")),
        ("waiting", ("q", "n")),
        ("waiting", ("n",)),
        ("running", ()),
        ("waiting", ("o",)),
        ("running", ()),
        ("waiting", ("p",)),
        ("running", ()),
    ]


def test_an_ended_task_waits_for_nobody() -> None:
    book = running()
    book.add(ev.HumanAsked("q", 2, "Which?", START), RUN)
    book.add(ev.RunCancelled("user:alice"), RUN)
    book.add(ev.HumanAnswered("q", "late", "user:alice"), RUN)
    (row,) = rows(book)
    assert (row.status, row.metadata.waits_for, row.is_open) == ("cancelled", (), False)


def test_a_task_whose_message_was_heard_by_another_is_completed_and_says_by_which() -> None:
    book = running()
    book.add(ev.RunMerged(str(task(2)), "m1"), RUN)
    (row,) = rows(book)
    assert (row.status, row.progress, row.metadata.merged_into) == ("completed", 1.0, str(task(2)))
    assert row.completed_at == book.recorded[-1].recorded_at


def test_an_operation_is_a_task_with_a_parent_and_its_result() -> None:
    book = running()
    book.add(requested("{}", parent=str(RUN)), task(2))
    book.add(ev.OperationFinished(str(task(2)), "render", "done", None, "c1", str(RUN)), task(2))
    book.add(ev.RunCompleted(1), task(2))
    first, operation = rows(book)
    assert (first.metadata.parent, operation.metadata.parent) == (None, str(RUN))
    assert operation.output_data == TaskOutput("done", "c1")
    assert first.output_data is None


def test_what_attempts_cost_counts_until_the_end_knows_better() -> None:
    book = running()
    failed = ev.ModelAttemptFailed(1, "k", 1, "main", "m", "timeout", "slow", 5, Usage(3, 0), 0.25)
    book.add(failed, RUN)
    book.add(ev.ModelAnswered(1, "k", ModelAnswer("m", "x", usage=Usage(10, 1)), cost_usd=0.5), RUN)
    (row,) = rows(book)
    assert (row.metadata.cost_usd, row.metadata.usage) == (0.75, Usage(13, 1))
    book.add(ev.RunCompleted(1, 0, Usage(13, 1), 5, 0.8), RUN)
    assert rows(book)[0].metadata.cost_usd == 0.8


def test_a_phase_is_what_a_task_is_at() -> None:
    book = running()
    book.add(ev.PhaseChanged("plan", "explore"), RUN)
    (row,) = rows(book)
    assert (row.metadata.phase, row.progress_message) == ("plan", "plan")
