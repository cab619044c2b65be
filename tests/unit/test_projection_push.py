"""Folds of a user's stream: files, notifications and how far they have gone, reminders."""

import msgspec
import pytest

from app.core import events as ev
from projections import files, inboxes, notifications, reminders
from projections.projection import fold_all
from tests.support.projected import Book

ANA, BOB = "user/ana", "user/bob"


def uploaded(stored_name: str, conversation_id: str = "") -> ev.FileUploaded:
    return ev.FileUploaded(stored_name, "a.txt", "text/plain", 3, "00", conversation_id)


def test_a_deleted_conversation_takes_its_own_files_and_no_others() -> None:
    book = Book()
    for stream, event in (
        (ANA, uploaded("1", "c1")),
        (ANA, uploaded("2", "c2")),
        (ANA, uploaded("3")),
        (BOB, uploaded("4", "c1")),
        ("conversation/ana/c1", ev.ConversationDeleted("c1")),
        (ANA, uploaded("5", "c1")),
    ):
        book.add(event, None, stream)
    rows = fold_all(files.PROJECTION, book.page(files.PROJECTION).entries)
    assert set(rows) == {("ana", "2"), ("ana", "3"), ("bob", "4"), ("ana", "5")}
    assert rows["ana", "5"].uploaded_offset == 4


def test_what_was_delivered_never_goes_back() -> None:
    """Two nodes tell of it in whatever order."""
    book = Book()
    for event in (
        ev.UserNotified("n1", msgspec.Raw(b'{"a":1}')),
        ev.UserNotified("n2", msgspec.Raw(b'{"a":2}'), "reminder"),
        ev.NotificationsDelivered(2),
        ev.NotificationsDelivered(1),
    ):
        book.add(event, None, ANA)
    sent = fold_all(notifications.PROJECTION, book.page(notifications.PROJECTION).entries)
    assert [(key, row.kind) for key, row in sent.items()] == [
        (("ana", 1), "message"),
        (("ana", 2), "reminder"),
    ]
    inbox = fold_all(inboxes.PROJECTION, book.page(inboxes.PROJECTION).entries)
    assert inbox == {("ana",): inboxes.Inbox("ana", notified_until=2, delivered_until=2)}


@pytest.mark.parametrize(
    ("events", "status", "times_fired", "is_due"),
    [
        ([], "open", 0, True),
        ([ev.ReminderFired("r", "2026-02-01T09:00:00Z")], "fired", 1, False),
        ([ev.ReminderFired("r", "2026-02-01T09:00:00Z", "2026-02-02T09:00:00Z")], "open", 1, True),
        ([ev.ReminderCancelled("r")], "cancelled", 0, False),
        ([ev.ReminderCancelled("r"), ev.ReminderFired("r", "2026-02-01T09:00:00Z")], "cancelled", 0, False),
    ],
)
def test_a_reminder_is_open_until_it_has_fired_for_the_last_time_or_is_cancelled(
    events: list[ev.Event], status: str, times_fired: int, *, is_due: bool
) -> None:
    book = Book()
    book.add(ev.ReminderSet("r", "tea", "2026-02-01T09:00:00Z", "0 9 * * *"), None, ANA)
    for event in events:
        book.add(event, None, ANA)
    row = fold_all(reminders.PROJECTION, book.page(reminders.PROJECTION).entries)["ana", "r"]
    assert (row.status, row.times_fired, row.next_due is not None) == (status, times_fired, is_due)
