"""Reminders: set, cancelled and fired by events of their owner's stream, and each time due once, on whatever node.

Every decision is taken on what the log has at that moment, and appended on the condition that nothing has come since.
A time that is due has one idempotency key, so of several nodes one writes. A schedule gives its text to its agent
before that, under an id of the same kind: taken twice, it is taken once.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import UUID

import msgspec

from app.core import streams
from app.core.agent import Agent
from app.core.envelope import SYSTEM, NewEvent, user_actor
from app.core.events import Event, ReminderCancelled, ReminderFired, ReminderSet
from app.core.ids import named_id
from app.core.messages import storable
from app.core.texts import Locale
from app.log.errors import IdempotencyMismatch, LogOverloaded, OffsetConflict
from app.log.ids import new_id
from app.log.log import Appended, Log
from app.runs.push import notified
from app.runs.refused import Refused
from app.runs.reminder_times import next_time, time_of, written, zone_of

OPEN_MAX = 1_000
TEXT_CHARS_MAX = 4_000
ATTEMPTS_MAX = 20
KIND = "reminder"


class ReminderUnknown(Refused):
    """The owner has no such reminder. Value: `id`."""

    key = "no_reminder"


class ReminderOver(Refused):
    """It has fired or was cancelled. Values: `id`, `status`."""

    key = "reminder_over"


class TooManyReminders(Refused):
    """So many of the owner's are open. Value: `limit`."""

    key = "too_many_reminders"


class OneTime(Refused):
    """Either a time or a cron expression."""

    key = "reminder_one_time"


class TextEmpty(Refused):
    """Nothing but white space."""

    key = "reminder_text_empty"


class TextLong(Refused):
    """Values: `size`, `limit` in characters."""

    key = "reminder_text_long"


class Due(Protocol):
    """A reminder as a view of the log knows it."""

    @property
    def owner(self) -> str: ...
    @property
    def reminder_id(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def cron(self) -> str: ...
    @property
    def time_zone(self) -> str: ...
    @property
    def agent_name(self) -> str: ...
    @property
    def conversation_id(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def next_due(self) -> datetime | None: ...


class Book(Protocol):
    """The view of reminders."""

    async def caught_up(self, owner: str) -> None:
        """Returns when it shows everything of this owner that is committed now."""
        ...

    async def get(self, owner: str, reminder_id: str) -> Due | None: ...

    async def count_open(self, owner: str) -> int: ...


Give = Callable[[Due, str], Awaitable[str]]
"""Give the text of a schedule to its agent under this client message id; the task's id. Raises `Refused` and what the
log raises."""


class Wanted(msgspec.Struct, frozen=True):
    """A reminder as somebody asks for it: `at` (RFC 3339) or `cron`. With `agent_name` it is a schedule."""

    text: str
    at: str | None = None
    cron: str | None = None
    time_zone: str = "UTC"
    agent_name: str | None = None
    conversation_id: str | None = None


class _Decision(msgspec.Struct, frozen=True):
    events: list[NewEvent]
    key: str


class Reminders:
    """`find_agent` raises `AgentUnknown`. `now` is the clock."""

    def __init__(
        self,
        log: Log,
        book: Book,
        give: Give,
        find_agent: Callable[[str], Agent],
        *,
        locale: Locale = "en",
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._log = log
        self._book = book
        self._give = give
        self._find_agent = find_agent
        self._locale: Locale = locale
        self.now = now

    async def set(self, owner: str, wanted: Wanted) -> str:
        """The id of the new reminder. A schedule without a conversation gets one of its own, for all of its times.

        Raises `OneTime`, `TextEmpty`, `TextLong`, `AgentUnknown`, `InvalidConversationId`, `TooManyReminders`, what
        `app.runs.reminder_times` raises, and the log's errors; then nothing was written.
        """
        reminder = self._checked(owner, wanted)
        event = NewEvent(new_id(), reminder, user_actor(owner))

        async def decide() -> _Decision:
            if await self._book.count_open(owner) >= OPEN_MAX:
                raise TooManyReminders(limit=OPEN_MAX)
            return _Decision([event], f"reminder/{reminder.reminder_id}/set")

        await self._append(owner, decide)
        return reminder.reminder_id

    async def cancel(self, owner: str, reminder_id: str) -> None:
        """It never fires from now on. Raises `ReminderUnknown`, `ReminderOver`, and the log's errors."""
        event = NewEvent(new_id(), ReminderCancelled(reminder_id), user_actor(owner))

        async def decide() -> _Decision:
            found = await self._book.get(owner, reminder_id)
            if found is None:
                raise ReminderUnknown(id=reminder_id[:80])
            if found.status != "open":
                raise ReminderOver(id=reminder_id[:80], status=found.status)
            return _Decision([event], f"reminder/{reminder_id}/cancelled")

        await self._append(owner, decide)

    async def fire(self, due: Due) -> bool:
        """Send what is due, and say when it is due again. False where that is no longer so: another node was faster, or
        it was cancelled. Raises the log's errors, and what the view raises: try again later."""
        now = self.now()
        current = await self._still_due(due, now)
        if current is None or current.next_due is None:
            return False
        due_at = written(current.next_due)
        said = await self._said(current, due_at) if current.agent_name else {}

        async def decide() -> _Decision | None:
            found = await self._still_due(due, now)
            if found is None or found.next_due is None or written(found.next_due) != due_at:
                return None
            return _Decision(_fired(found, due_at, now, said), f"reminder/{found.reminder_id}/{due_at}")

        try:
            appended = await self._append(due.owner, decide)
        except IdempotencyMismatch:  # it was late, and another node has it due again at another time
            return False
        return appended is not None and not appended.duplicate

    async def _still_due(self, due: Due, now: datetime) -> Due | None:
        """As it is now; None where it is not due."""
        await self._book.caught_up(due.owner)
        found = await self._book.get(due.owner, due.reminder_id)
        if found is None or found.status != "open" or found.next_due is None or found.next_due > now:
            return None
        return found

    async def _said(self, due: Due, due_at: str) -> dict[str, Any]:
        """What became of the text that was given to the agent."""
        try:
            task_id = await self._give(due, f"reminder/{due.reminder_id}/{due_at}")
        except Refused as error:
            return {"error": error.sentence(self._locale)}
        return {"task_id": task_id}

    def _checked(self, owner: str, wanted: Wanted) -> ReminderSet:
        content = storable(wanted.text)
        if not content.strip():
            raise TextEmpty
        if len(content) > TEXT_CHARS_MAX:
            raise TextLong(size=len(content), limit=TEXT_CHARS_MAX)
        if bool(wanted.at) == bool(wanted.cron):
            raise OneTime
        zone_of(wanted.time_zone)
        now = self.now()
        cron = wanted.cron or ""
        first = time_of(wanted.at, now) if wanted.at else next_time(cron, wanted.time_zone, now)
        reminder_id, conversation_id = str(new_id()), ""
        if wanted.agent_name:
            self._find_agent(wanted.agent_name)
            conversation_id = wanted.conversation_id or reminder_id
        elif wanted.conversation_id:
            conversation_id = wanted.conversation_id
        if conversation_id:
            streams.conversation(owner, conversation_id)
        return ReminderSet(
            reminder_id,
            content,
            written(first),
            cron,
            wanted.time_zone,
            wanted.agent_name or "",
            conversation_id,
        )

    async def _append(self, owner: str, decide: Callable[[], Awaitable[_Decision | None]]) -> Appended | None:
        """Decide on what is there, append if nothing has come since, else decide again. None: nothing to append."""
        stream = streams.user(owner)
        for _ in range(ATTEMPTS_MAX):
            head = await self._log.reader.head(stream)
            await self._book.caught_up(owner)
            decision = await decide()
            if decision is None:
                return None
            try:
                appended = await self._log.append(
                    stream, decision.events, expected_offset=head, idempotency_key=decision.key
                )
            except OffsetConflict:
                continue
            await self._book.caught_up(owner)
            return appended
        raise LogOverloaded("the user's stream changes faster than a reminder can be written")


def _fired(due: Due, due_at: str, now: datetime, said: dict[str, Any]) -> list[NewEvent]:
    """The two events of a time that is due, with ids that are the same on every node."""
    seed: UUID = named_id("reminder", due.owner, due.reminder_id, due_at)
    again = _again(due, due_at, now)
    message = {"reminder_id": due.reminder_id, "text": due.text, "due_at": due_at}
    if due.agent_name:
        message |= {"agent_name": due.agent_name}
    if due.conversation_id:
        message |= {"conversation_id": due.conversation_id}
    told = notified({**message, **said}, kind=KIND, notification_id=str(seed))
    fired: Event = ReminderFired(due.reminder_id, due_at, again)
    return [
        NewEvent(named_id(seed, "fired"), fired, SYSTEM),
        NewEvent(named_id(seed, "notified"), told, SYSTEM, None, named_id(seed, "fired")),
    ]


def _again(due: Due, due_at: str, now: datetime) -> str:
    """When it is due next: not before now, so what was missed is not made up for. Empty: never."""
    if not due.cron:
        return ""
    try:
        return written(next_time(due.cron, due.time_zone, max(now, msgspec.convert(due_at, datetime))))
    except Refused:  # never again within the years that are looked at, or the zone is gone
        return ""
