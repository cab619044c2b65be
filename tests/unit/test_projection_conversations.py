"""Given events, what a list of conversations shows."""

from app.core import events as ev
from projections import conversations
from projections.conversations import Conversation
from projections.projection import fold_all
from tests.support.projected import Book, requested, said, task

RUN = task(1)


def rows(book: Book) -> list[Conversation]:
    return list(fold_all(conversations.PROJECTION, book.page(conversations.PROJECTION).entries).values())


def test_a_conversation_begins_with_its_creation_or_its_first_message() -> None:
    book = Book()
    book.add(ev.ConversationCreated("c1", "alice"))
    (row,) = rows(book)
    assert (row.owner, row.conversation_id, row.message_count, row.shown_title("zh")) == (
        "alice",
        "c1",
        0,
        "对话",
    )
    book.add(ev.MessageReceived("m1", "hi"), stream="conversation/bob/c1")
    assert [(row.owner, row.title) for row in rows(book)] == [("alice", ""), ("bob", "hi")]


def test_the_title_is_of_the_first_user_message_only() -> None:
    book = Book()
    book.add(ev.MessageImported(0, said("system", "be kind")))
    book.add(ev.MessageImported(1, said("user", [{"type": "text", "text": "@board:a,b rounds=2 budget"}])))
    book.add(ev.MessageReceived("m1", "other"))
    (row,) = rows(book)
    assert (row.title, row.is_board, row.message_count) == ("budget", True, 2)


def test_a_title_that_is_empty_stays_so() -> None:
    book = Book()
    book.add(ev.MessageReceived("m1", "@team"))
    book.add(ev.MessageReceived("m2", "other"))
    assert rows(book)[0].shown_title("en") == "conversation"


def test_messages_are_counted_once_they_are_shown() -> None:
    book = Book()
    book.add(ev.MessageReceived("m1", "hi"))
    book.add(requested(), RUN)
    book.add(ev.RunClaimed("w", 1), RUN)
    assert rows(book)[0].message_count == 1
    answered = book.add(ev.MessageAnswered("m2", "hello"), RUN)
    book.add(ev.RunCompleted(), RUN)
    (row,) = rows(book)
    assert (row.message_count, row.head, row.updated_at) == (2, answered.offset, answered.recorded_at)
    assert row.created_at == book.recorded[0].recorded_at


def test_a_failed_run_counts_its_card_once() -> None:
    for interruption in ([], [ev.MessageInterrupted("m2", "")], [ev.MessageInterrupted("m2", "Hel")]):
        book = Book()
        book.add(ev.MessageReceived("m1", "hi"))
        book.add(requested(), RUN)
        for event in (*interruption, ev.RunFailed("broken", "It broke.")):
            book.add(event, RUN)
        assert rows(book)[0].message_count == 2


def test_a_deletion_forgets_and_a_later_message_starts_anew() -> None:
    book = Book()
    book.add(ev.MessageReceived("m1", "first"))
    book.add(requested(), RUN)
    book.add(ev.ConversationDeleted("c1"))
    book.add(ev.MessageAnswered("m2", "too late"), RUN)
    assert rows(book) == []
    again = book.add(ev.MessageReceived("m3", "second"))
    book.add(ev.RunFailed("broken", "even later"), RUN)
    (row,) = rows(book)
    assert (row.title, row.message_count, row.created_at) == ("second", 1, again.recorded_at)


def test_operations_and_merged_tasks_count_no_message() -> None:
    book = Book()
    book.add(ev.MessageReceived("m1", "hi"))
    book.add(requested(), task(1))
    book.add(requested("{}", parent=str(task(1))), task(2))
    book.add(ev.RunFailed("failed", "no"), task(2))
    book.add(ev.MessageReceived("m2", "and"))
    book.add(requested(), task(3))
    book.add(ev.RunMerged(str(task(1)), "m2"), task(3))
    book.add(ev.MessageAnswered("a", "hello"), task(1))
    (row,) = fold_all(conversations.PROJECTION, book.page(conversations.PROJECTION).entries).values()
    assert (row.message_count, row.open_tasks) == (3, ())


def test_a_given_title_stays_whatever_is_said_before_or_behind_it_and_changes_no_order() -> None:
    book = Book()
    book.add(ev.ConversationCreated("c1", "alice"))
    titled = book.add(ev.ConversationTitled("Boats"))
    (row,) = rows(book)
    assert (row.shown_title("en"), row.head) == ("Boats", titled.offset)
    assert row.updated_at == book.recorded[0].recorded_at
    book.add(ev.MessageReceived("m1", "first"))
    assert rows(book)[0].shown_title("en") == "Boats"
    book.add(ev.ConversationTitled(""))
    assert rows(book)[0].shown_title("en") == "first"
    book.add(ev.ConversationDeleted("c1"))
    book.add(ev.ConversationTitled("of nothing"))
    assert rows(book) == []


def test_added_messages_count_by_their_role_and_the_first_of_a_user_gives_the_title() -> None:
    book = Book()
    for role, content in (("developer", "be kind"), ("assistant", "Welcome."), ("user", "hi"), ("tool", "x")):
        book.add(ev.MessageAdded(role, said(role, content)))
    (row,) = rows(book)
    assert (row.title, row.message_count) == ("hi", 2)
