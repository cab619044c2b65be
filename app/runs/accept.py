"""Taking a message: routed first, then written with the task that it starts, in one append."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Literal
from uuid import UUID
from weakref import WeakValueDictionary

import msgspec

from app.agents.routing import Route
from app.core import streams
from app.core.envelope import NewEvent, user_actor
from app.core.events import (
    ConversationCreated,
    ConversationDeleted,
    MessageReceived,
    RunRequested,
)
from app.core.ids import derived_id, named_id
from app.core.meeting_events import MEETING_MODES
from app.core.messages import storable
from app.log.errors import IdempotencyMismatch, LogOverloaded, OffsetConflict
from app.log.ids import new_id
from app.log.log import Appended, Log
from app.log.read import newest_first
from app.runs import refused
from app.runs.given import Given, with_given
from app.runs.interventions import MESSAGE_BYTES_MAX, Interventions
from app.runs.lessons import with_lessons
from app.runs.quotas import UNBOUND, Charge, Quotas, with_charge
from app.runs.record import fold, read_events
from app.runs.roster import Roster
from app.runs.turn import OpenTasks, open_tasks

Busy = Literal["queue", "steer", "reject"]
Describe = Callable[[str, str, Sequence[str]], Awaitable[tuple[str, ...]]]
"""Owner, conversation and sources of a message: the sources as a model is told of them."""
TASKS_MAX = 4
INTERVENTIONS_MAX = 50
ATTEMPTS_MAX = 20
CLIENT_MESSAGE_ID_CHARS_MAX = 200
COMMANDED = frozenset({"prefix", "explicit"})
"""How messages are routed that name a mode or skill of their own: to a meeting they are no intervention."""
ALIVE_TYPES = frozenset(
    {"conversation.created", "conversation.imported", "message.received", "message.imported", "message.added"}
)


class Accepted(msgspec.Struct, frozen=True):
    """A message that is in the log, and its task. `offset` and `position` are those of `run.requested`, the last event
    of the append. `duplicate`: it was taken before, under the same `client_message_id`."""

    stream: str
    conversation_id: str
    created: bool
    task_id: UUID
    message_id: str
    offset: int
    position: int
    partition: int
    route: Route
    duplicate: bool = False


class _Draft(msgspec.Struct, frozen=True):
    """A message on its way in. All of its ids come from `seed`, so that a message sent twice is the same append."""

    stream: str
    conversation_id: str
    seed: UUID
    task_id: UUID
    route: Route
    created: NewEvent
    received: NewEvent
    requested: NewEvent
    client_message_id: str | None

    def steered(self, task_id: UUID | None) -> "_Draft":
        """The draft as a message to the running task."""
        requested = self.requested.payload
        if task_id is None or not isinstance(requested, RunRequested):
            return self
        steering = msgspec.structs.replace(requested, steers=str(task_id))
        return msgspec.structs.replace(
            self, requested=msgspec.structs.replace(self.requested, payload=steering)
        )

    def accepted(
        self, offset: int, position: int, partition: int, *, created: bool, duplicate: bool
    ) -> Accepted:
        message_id = message_id_of(self.seed)
        place = (offset, position, partition)
        return Accepted(
            self.stream,
            self.conversation_id,
            created,
            self.task_id,
            message_id,
            *place,
            self.route,
            duplicate,
        )


class Conversations:
    """What people do to conversations. `admit` may refuse a message before anything is written.

    `busy` says what becomes of a message while a task of its conversation runs: it waits for its turn, it is heard by
    that task, or it is refused. A board or team always hears it. At most `tasks_max` tasks of a conversation run or
    wait, and at most 50 words to a meeting are unheard. Without `quotas` none are set.
    """

    def __init__(
        self,
        log: Log,
        roster: Roster,
        *,
        busy: Busy = "queue",
        tasks_max: int = TASKS_MAX,
        admit: Callable[[], None] = lambda: None,
        quotas: Quotas | None = None,
        describe: Describe | None = None,
    ) -> None:
        self._quotas = quotas
        self._log = log
        self.roster = roster
        self._busy: Busy = busy
        self._tasks_max = tasks_max
        self._admit = admit
        self._describe = describe
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        said = Interventions(log)
        self.reply, self.confirm = said.reply, said.confirm
        self.request_cancel, self.interrupt = said.request_cancel, said.interrupt

    async def accept(
        self,
        owner: str,
        message: str,
        conversation_id: str | None = None,
        *,
        model: str | None = None,
        skill_name: str | None = None,
        sources: Sequence[str] = (),
        client_message_id: str | None = None,
        actor: str | None = None,
        agent: str | None = None,
        mode: str | None = None,
        given: Given | None = None,
        charge: Charge = UNBOUND,
    ) -> Accepted:
        """Write a message and the request to answer it. `Runs.start` then does so.

        Raises `InvalidConversationId`, one of `app.runs.refused` (nothing was written), and the log's errors. The
        message, its sources included, may have 256 KiB as JSON. `given` is for the task's record,
        `charge` says who pays: by default nobody does, as for what an operator does.
        """
        content = storable(message)
        await self.roster.refresh()
        chosen = self.roster.choose(content, agent_name=agent, skill_name=skill_name, mode=mode)
        _check(chosen.route, content, sources, client_message_id)
        self._admit()
        if conversation_id is None:
            named = client_message_id is not None
            conversation_id = str(named_id("conversation", owner, client_message_id) if named else new_id())
        stream = streams.conversation(owner, conversation_id)
        seed = new_id() if client_message_id is None else named_id("message", stream, client_message_id)
        meeting = chosen.route.meeting
        received = MessageReceived(
            message_id_of(seed),
            content if meeting is None else meeting.kept,
            client_message_id,
            tuple(map(storable, sources)),
        )
        by, task_id, said_id = (
            actor or user_actor(owner),
            derived_id(seed, "task"),
            derived_id(seed, "received"),
        )
        created = ConversationCreated(conversation_id, owner)
        requested = with_charge(with_given(self.roster.requested(received, chosen, model), given), charge)
        requested = with_lessons(requested, chosen.agent.lessons)
        if received.sources and self._describe is not None:
            told = await self._describe(owner, conversation_id, received.sources)
            requested = msgspec.structs.replace(requested, sources=told)
        draft = _Draft(
            stream,
            conversation_id,
            seed,
            task_id,
            chosen.route,
            NewEvent(derived_id(seed, "created"), created, by, None, said_id, seed),
            NewEvent(said_id, received, by, task_id, None, seed),
            NewEvent(derived_id(seed, "requested"), requested, by, task_id, said_id, seed),
            client_message_id,
        )
        async with self._locks.setdefault(stream, asyncio.Lock()):
            return await self._write(draft, self._entering(owner, charge))

    async def delete(self, owner: str, conversation_id: str, *, actor: str | None = None) -> Appended | None:
        """Views forget the conversation and its runs are cancelled; the log stays. None if there is none (any more)."""
        stream = streams.conversation(owner, conversation_id)
        if not await self._exists(stream):
            return None
        deleted = NewEvent(new_id(), ConversationDeleted(conversation_id), actor or user_actor(owner))
        return await self._log.append(stream, [deleted])

    def _entering(self, owner: str, charge: Charge) -> AbstractAsyncContextManager[None]:
        return nullcontext() if self._quotas is None else self._quotas.entering(owner, charge)

    async def _write(self, draft: _Draft, entering: AbstractAsyncContextManager[None]) -> Accepted:
        """Look who is busy and who pays, then append on the condition that nothing has changed since."""
        try:
            async with entering:
                found, appended = await self._append_in_turn(draft)
        except IdempotencyMismatch:
            return await self._taken_before(draft)
        except refused.QuotaExceeded:
            if await self._is_taken(draft):
                return await self._taken_before(draft)
            raise
        partition = self._log.partition_of(draft.stream)
        return draft.accepted(
            appended.last_offset,
            appended.last_position,
            partition,
            created=found.head == 0 and not appended.duplicate,
            duplicate=appended.duplicate,
        )

    async def _append_in_turn(self, draft: _Draft) -> tuple[OpenTasks, Appended]:
        for attempt in range(ATTEMPTS_MAX):
            found = await open_tasks(self._log.reader, draft.stream)
            meeting = await self._meeting(draft, found)
            entering = await self._may_enter(draft, found, into=meeting)
            asked = draft.steered(meeting or self._steers(found)) if entering else draft
            # A run may append faster than anybody can look: the last attempt goes without the condition.
            expected = found.head if attempt < ATTEMPTS_MAX - 1 or found.head == 0 else None
            try:
                return found, await self._append(asked, found.head, expected=expected)
            except OffsetConflict:  # somebody else was first
                continue
        raise LogOverloaded("the conversation changes faster than a message can be added")

    async def _may_enter(self, draft: _Draft, found: OpenTasks, *, into: UUID | None) -> bool:
        """Whether there is room for another task, or for a further word to the meeting `into`. Raises `TooManyTasks`,
        `ConversationBusy`, `SessionIsClosed`. False: it is there."""
        if found.closed:
            if await self._is_taken(draft):
                return False
            raise refused.SessionIsClosed(id=draft.conversation_id)
        limit = self._tasks_max if into is None else max(self._tasks_max, INTERVENTIONS_MAX)
        full = len(found.tasks) >= limit
        if not full and (into is not None or not (found.tasks and self._busy == "reject")):
            return True
        if await self._is_taken(draft):
            return False
        raise refused.TooManyTasks(limit=limit) if full else refused.ConversationBusy

    async def _is_taken(self, draft: _Draft) -> bool:
        """Whether the message is there, under its client message id."""
        if draft.client_message_id is None:
            return False
        return bool(await read_events(self._log.reader, draft.stream, draft.task_id))

    async def _meeting(self, draft: _Draft, found: OpenTasks) -> UUID | None:
        """The board or team whose turn it is, and which is to hear the message, whatever `busy` says: a message is a
        word to it unless it is a command."""
        if not found.tasks or draft.route.meeting is not None or draft.route.method in COMMANDED:
            return None
        (first,) = await self._log.reader.stream(draft.stream, after=found.tasks[0].offset - 1, limit=1)
        event = first.event()
        held = isinstance(event, RunRequested) and event.mode in MEETING_MODES
        return found.tasks[0].task_id if held and first.task_id != draft.task_id else None

    def _steers(self, found: OpenTasks) -> UUID | None:
        """The running task that is to hear the message."""
        running = [task.task_id for task in found.tasks if task.began]
        return running[0] if running and self._busy == "steer" else None

    async def _append(self, draft: _Draft, head: int, *, expected: int | None) -> Appended:
        events = (
            [draft.created, draft.received, draft.requested]
            if head == 0
            else [draft.received, draft.requested]
        )
        key = None if draft.client_message_id is None else f"message/{draft.client_message_id}"
        return await self._log.append(draft.stream, events, expected_offset=expected, idempotency_key=key)

    async def _taken_before(self, draft: _Draft) -> Accepted:
        """The client message id was used. The same message is the same task, also where settings have changed since."""
        events = await read_events(self._log.reader, draft.stream, draft.task_id)
        record = fold(events, draft.task_id)
        if record is None or not await self._same_message(draft, record.requested_offset):
            raise refused.ClientMessageIdReused(id=draft.client_message_id)
        partition = self._log.partition_of(draft.stream)
        return draft.accepted(events[0].offset, events[0].position, partition, created=False, duplicate=True)

    async def _same_message(self, draft: _Draft, requested_offset: int) -> bool:
        (before,) = await self._log.reader.stream_backwards(draft.stream, before=requested_offset, limit=1)
        return before.event() == draft.received.payload

    async def _exists(self, stream: str) -> bool:
        async for recorded in newest_first(self._log.reader, stream):
            if recorded.type == "conversation.deleted":
                return False
            if recorded.type in ALIVE_TYPES:
                return True
        return False


def _check(chosen: Route, content: str, sources: Sequence[str], client_message_id: str | None) -> None:
    """Raises `MessageTooLong`, `MessageEmpty`, `ClientMessageIdInvalid`."""
    check_client_message_id(client_message_id)
    size_bytes = len(msgspec.json.encode((content, tuple(map(storable, sources)))))
    if size_bytes > MESSAGE_BYTES_MAX:
        raise refused.MessageTooLong(size=size_bytes, limit=MESSAGE_BYTES_MAX)
    if not chosen.message.strip():
        raise refused.MessageEmpty


def check_client_message_id(given: str | None) -> None:
    """Raises `ClientMessageIdInvalid`. None: there is none."""
    if given is None:
        return
    if not 1 <= len(given) <= CLIENT_MESSAGE_ID_CHARS_MAX:
        raise refused.ClientMessageIdInvalid(size=len(given), limit=CLIENT_MESSAGE_ID_CHARS_MAX)
    if given != storable(given):
        raise refused.ClientMessageIdInvalid(id=given[:80])


def message_id_of(seed: UUID) -> str:
    return str(derived_id(seed, "message"))
