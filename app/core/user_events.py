"""Events of a user (stream of the user): what was sent to them, and their reminders. The rules of `events.py` hold."""

import msgspec


class UserNotified(msgspec.Struct, frozen=True, tag_field="type", tag="user.notified", omit_defaults=True):
    """A message to all sockets of a user, now or at their next connection. `message` is a JSON object of the sender's.

    `kind` says what it is, for example `message` or `reminder`.
    """

    notification_id: str
    message: msgspec.Raw
    kind: str = "message"


class NotificationsDelivered(
    msgspec.Struct, frozen=True, tag_field="type", tag="user.notifications_delivered", omit_defaults=True
):
    """Everything up to offset `until` of this stream has gone to at least one socket of the user."""

    until: int


class ReminderSet(msgspec.Struct, frozen=True, tag_field="type", tag="reminder.set", omit_defaults=True):
    """To be sent at `at` (RFC 3339 UTC), or whenever the cron expression says, in `time_zone` (IANA name).

    With `agent_name` it is a schedule: the text is then given to that agent as a message in `conversation_id`.
    """

    reminder_id: str
    text: str
    at: str = ""
    cron: str = ""
    time_zone: str = "UTC"
    agent_name: str = ""
    conversation_id: str = ""


class ReminderFired(msgspec.Struct, frozen=True, tag_field="type", tag="reminder.fired", omit_defaults=True):
    """It was due at `due_at` and has been sent; `next_at` is when it is due again, empty where never."""

    reminder_id: str
    due_at: str
    next_at: str = ""


class ReminderCancelled(
    msgspec.Struct, frozen=True, tag_field="type", tag="reminder.cancelled", omit_defaults=True
):
    reminder_id: str
