"""Given events, the chat sessions of an owner."""

import msgspec

from app.core import events as ev
from app.core.messages import Usage
from projections import agent_counts, sessions
from projections.projection import fold_all
from projections.sessions import Session
from tests.support.projected import STREAM, Book, requested, task


def rows(book: Book) -> list[Session]:
    return list(fold_all(sessions.PROJECTION, book.page(sessions.PROJECTION).entries).values())


def opened() -> Book:
    book = Book()
    book.add(ev.ConversationCreated("c1", "alice"))
    book.add(ev.SessionOpened("c1", "analyst", msgspec.Raw(b'{"a":[1]}')))
    return book


def test_an_opened_session_is_active_and_bound_to_its_agent() -> None:
    book = opened()
    (row,) = rows(book)
    assert (row.owner, row.session_id, row.stream) == ("alice", "c1", STREAM)
    assert (row.agent_name, row.status, row.metadata) == ("analyst", "active", {"a": [1]})
    assert row.created_at == row.updated_at == book.recorded[1].recorded_at


def test_messages_make_it_newer_and_the_end_closes_it() -> None:
    book = opened()
    for event in (ev.MessageReceived("m1", "hi"), ev.MessageAnswered("m2", "hello")):
        book.add(event, task(1))
        assert rows(book)[0].updated_at == book.recorded[-1].recorded_at
    book.add(ev.SessionClosed("c1"))
    (row,) = rows(book)
    assert (row.status, row.updated_at) == ("closed", book.recorded[-1].recorded_at)


def test_a_conversation_that_was_not_opened_as_a_session_is_none() -> None:
    book = Book()
    book.add(ev.MessageReceived("m1", "hi"))
    book.add(ev.SessionClosed("c1"))
    assert rows(book) == []


def test_a_deletion_of_the_conversation_is_the_end_of_the_session() -> None:
    book = opened()
    book.add(ev.ConversationDeleted("c1"))
    book.add(ev.MessageReceived("m1", "again"))
    assert rows(book) == []


def test_tokens_and_tasks_are_counted_at_the_end_of_each() -> None:
    """A member's run and an operation count by their tokens alone."""
    book = opened()
    for number in (1, 2, 3, 4):
        book.add(requested(), task(number))
    book.add(requested(parent=str(task(1))), task(5))
    assert rows(book)[0].open_tasks == tuple(task(number) for number in (1, 2, 3, 4))
    book.add(ev.RunCompleted(usage=Usage(3, 4)), task(5))
    book.add(ev.RunCompleted(usage=Usage(10, 20)), task(1))
    book.add(ev.RunFailed("x", "y", usage=Usage(100, 200)), task(2))
    book.add(ev.RunCancelled("system", usage=Usage(1000, 2000)), task(3))
    book.add(ev.RunMerged(str(task(1)), "m"), task(4))
    (row,) = rows(book)
    assert (row.prompt_tokens, row.completion_tokens) == (1113, 2224)
    assert (row.completed, row.failed, row.cancelled, row.open_tasks) == (1, 1, 1, ())


def test_metadata_is_replaced_and_changes_no_time() -> None:
    book = opened()
    book.add(ev.SessionMetadataSet("c1", msgspec.Raw(b'{"b":2}')))
    (row,) = rows(book)
    assert row.metadata == {"b": 2}
    assert row.updated_at == book.recorded[1].recorded_at


def test_runs_count_for_the_agent_that_answered() -> None:
    """Guard: a team's members have no answer of their own, and count nothing."""
    book = Book()
    for event, run in (
        (ev.MessageAnswered("a", "x"), task(1)),
        (ev.MessageAnswered("b", "x"), task(2)),
        (ev.MessageAnswered("c", "x"), None),
        (ev.ChildAnswered("x"), task(3)),
    ):
        book.add(event, run)
    book.recorded = [msgspec.structs.replace(one, actor="agent:analyst") for one in book.recorded]
    entries = book.page(agent_counts.PROJECTION).entries
    (row,) = fold_all(agent_counts.PROJECTION, entries).values()
    assert (row.owner, row.agent_name, row.successful_runs) == ("alice", "analyst", 2)
    assert row.last_run_at == book.recorded[1].recorded_at
