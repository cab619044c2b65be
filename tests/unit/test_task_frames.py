"""What a task's socket sends of what is shown: every piece with its place, and none that the client has been told."""

from datetime import UTC, datetime

from app.api.shown import Ended, Meeting, Routed, Shown, Step, last_with_offset
from app.api.task_socket import TaskFrames
from app.core import events as ev
from app.log.log import Resumption
from projections import tasks
from projections.projection import fold_all
from tests.support.projected import Book, requested, task

AT = datetime(2026, 1, 1, tzinfo=UTC)
RUN = task(1)


def frames(after: int = 0, parts: int = 0) -> TaskFrames:
    book = Book()
    book.add(requested("hi"), RUN)
    (row,) = fold_all(tasks.PROJECTION, book.page(tasks.PROJECTION).entries).values()
    return TaskFrames(row, Resumption("missed", after, 9, "epoch"), parts=parts)


def step(name: str) -> Step:
    return Step(name, 1, {}, AT)


def pieces() -> list[Shown]:
    """What an event at offset 5 shows: a live text is taken back, then come three pieces."""
    reset = Meeting("expert_result_chunk_reset", {}, AT)
    return last_with_offset([reset, step("one"), Meeting("two", {}, AT), step("three")], 5)


def told(of: TaskFrames, *shown: Shown) -> list[tuple[str, int, str]]:
    found = [frame for one in shown if (frame := of.frame(one)) is not None]
    return [(one["data"]["event_type"], one["offset"], one["cursor"]) for one in found]


def test_the_pieces_of_an_event_have_cursors_of_their_own_and_the_offset_before_it() -> None:
    assert told(frames(2), *pieces()) == [
        ("turn.expert_result_chunk_reset", 2, "epoch:2"),
        ("turn.one", 4, "epoch:4.1"),
        ("turn.two", 4, "epoch:4.2"),
        ("turn.three", 5, "epoch:5"),
    ]


def test_pieces_that_the_client_knows_are_not_told_again_whether_or_not_live_text_was() -> None:
    for shown in (pieces(), pieces()[1:]):
        assert told(frames(4, parts=1), *shown)[-2:] == [
            ("turn.two", 4, "epoch:4.2"),
            ("turn.three", 5, "epoch:5"),
        ]
    assert [name for name, *_ in told(frames(4, parts=2), *pieces()[1:])] == ["turn.three"]


def test_live_text_has_the_offset_of_what_was_told_before_it() -> None:
    of = frames()
    routed = Routed("s", "default", 1.0, "react", 3, AT)
    assert told(of, routed, step("token")) == [
        ("turn.routing", 3, "epoch:3"),
        ("turn.token", 3, "epoch:3"),
    ]


def test_an_end_that_the_client_knows_is_not_told_again() -> None:
    ended = Ended("completed", "done", AT, 5, steps=2, tokens=7)
    assert frames(5).frame(ended) is None
    frame = frames(4).frame(ended)
    assert frame is not None
    assert frame["data"].items() >= {"output": "done", "total_steps": 2, "total_tokens": 7}.items()


def test_ends_have_the_shape_of_the_contract() -> None:
    """Section 3: after cancel `{status:"cancelled", task_id}`."""
    cancelled = frames().frame(Ended("cancelled", "The task was cancelled.", AT, 5))
    assert cancelled is not None
    assert cancelled["data"].items() >= {"status": "cancelled", "task_id": str(RUN)}.items()
    assert "output" not in cancelled["data"]
    info = ev.QuotaInfo("d", "tokens", "day", 5, 6)
    failed = frames().frame(Ended("failed", "Over quota.", AT, 5, quota_info=info))
    assert failed is not None
    assert (failed["type"], failed["data"]["message"], failed["data"]["quota_info"]) == (
        "error",
        "Over quota.",
        info,
    )
    steered = frames().frame(Ended("steered", "Heard.", AT, 5, merged_into="other"))
    assert steered is not None
    assert steered["data"].items() >= {"status": "steered", "merged_into": "other"}.items()
