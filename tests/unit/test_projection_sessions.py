"""Given events, the chat sessions of an owner."""

import msgspec

from app.core import events as ev
from projections import sessions
from projections.projection import fold_all
from projections.sessions import Session
from tests.support.projected import STREAM, Book, task


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
