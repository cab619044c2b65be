"""Taking a message: routed first, then written with the task that it starts, in one append."""

from collections.abc import Callable, Sequence
from uuid import UUID

import msgspec

from app.agents.routing import Route, RouteError, route, to_skill
from app.core import streams
from app.core.agent import Agent
from app.core.envelope import NewEvent, user_actor
from app.core.events import (
    ConversationCreated,
    ConversationDeleted,
    MessageReceived,
    RunCancelRequested,
    RunRequested,
)
from app.core.ids import derived_id, named_id, new_id
from app.core.messages import storable
from app.core.texts import Locale
from app.log.errors import IdempotencyMismatch, OffsetConflict
from app.log.log import Appended, Log
from app.runs import refused
from app.runs.modes import MODES
from app.runs.record import fold, read_events
from app.tools.toolbox import ToolBox

MESSAGE_BYTES_MAX = 256 * 1024
CLIENT_MESSAGE_ID_CHARS_MAX = 200
PAGE_EVENTS = 100
ALIVE_TYPES = frozenset(
    {"conversation.created", "conversation.imported", "message.received", "message.imported"}
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
    """What people do to conversations. `admit` may refuse a message before anything is written."""

    def __init__(
        self,
        log: Log,
        toolbox: ToolBox,
        *,
        agent: Agent | None = None,
        locale: Locale = "en",
        admit: Callable[[], None] = lambda: None,
    ) -> None:
        self._log = log
        self._agent = agent or Agent()
        self._refs = toolbox.refs(self._agent.tools)
        self._locale: Locale = locale
        self._admit = admit

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
    ) -> Accepted:
        """Write a message and the request to answer it. `Runs.start` then does so.

        Raises `InvalidConversationId`, one of `app.runs.refused` (nothing was written), and the log's errors. The
        message, its sources included, may have 256 KiB as JSON.
        """
        content = storable(message)
        chosen = self._route(content, skill_name)
        self._check(chosen, content, sources, client_message_id)
        self._admit()
        if conversation_id is None:
            named = client_message_id is not None
            conversation_id = str(named_id("conversation", owner, client_message_id) if named else new_id())
        stream = streams.conversation(owner, conversation_id)
        seed = new_id() if client_message_id is None else named_id("message", stream, client_message_id)
        received = MessageReceived(
            message_id_of(seed), content, client_message_id, tuple(map(storable, sources))
        )
        by, task_id, said_id = (
            actor or user_actor(owner),
            derived_id(seed, "task"),
            derived_id(seed, "received"),
        )
        created = ConversationCreated(conversation_id, owner)
        requested = self._requested(received, chosen, model)
        draft = _Draft(
            stream,
            conversation_id,
            seed,
            task_id,
            chosen,
            NewEvent(derived_id(seed, "created"), created, by, None, said_id, seed),
            NewEvent(said_id, received, by, task_id, None, seed),
            NewEvent(derived_id(seed, "requested"), requested, by, task_id, said_id, seed),
            client_message_id,
        )
        return await self._write(draft)

    async def delete(self, owner: str, conversation_id: str, *, actor: str | None = None) -> Appended | None:
        """Views forget the conversation and its runs are cancelled; the log stays. None if there is none (any more)."""
        stream = streams.conversation(owner, conversation_id)
        if not await self._exists(stream):
            return None
        deleted = NewEvent(new_id(), ConversationDeleted(conversation_id), actor or user_actor(owner))
        return await self._log.append(stream, [deleted])

    async def request_cancel(self, task_id: UUID, stream: str, by: str, reason: str = "") -> bool:
        """Ask whichever node runs the task to end it. `by` is an actor. False: no such task here, or it has ended."""
        record = fold(await read_events(self._log.reader, stream, task_id), task_id)
        if record is None or record.ended:
            return False
        if record.stop is None:
            asked = RunCancelRequested(by, storable(reason))
            event = NewEvent(new_id(), asked, by, task_id, record.requested_id, record.correlation_id)
            await self._log.append(stream, [event])
        return True

    def _route(self, content: str, skill_name: str | None) -> Route:
        if skill_name and skill_name != self._agent.name:
            return to_skill(storable(skill_name), content, method="explicit")
        return route(content, agent=self._agent.name)

    def _check(
        self, chosen: Route, content: str, sources: Sequence[str], client_message_id: str | None
    ) -> None:
        size_bytes = len(msgspec.json.encode((content, tuple(map(storable, sources)))))
        if size_bytes > MESSAGE_BYTES_MAX:
            raise refused.MessageTooLong(size=size_bytes, limit=MESSAGE_BYTES_MAX)
        match chosen.error:
            case RouteError(key="no_skill"):
                raise refused.SkillUnknown(name=chosen.skill, known=self._agent.name)
            case RouteError(values=values):
                raise refused.ModeMissing(**values)
            case None:
                pass
        if not chosen.message.strip():
            raise refused.MessageEmpty
        if client_message_id is not None:
            size = len(client_message_id)
            if not 1 <= size <= CLIENT_MESSAGE_ID_CHARS_MAX or client_message_id != storable(
                client_message_id
            ):
                raise refused.ClientMessageIdInvalid(size=size, limit=CLIENT_MESSAGE_ID_CHARS_MAX)

    def _requested(self, received: MessageReceived, chosen: Route, model: str | None) -> RunRequested:
        mode, agent = MODES[chosen.mode], self._agent
        return RunRequested(
            received.message_id,
            chosen.message,
            agent.name,
            chosen.mode,
            mode.version,
            skill=chosen.skill if chosen.skill != agent.name else None,
            method=chosen.method,
            confidence=chosen.confidence,
            model=model and storable(model),
            system_prompt=agent.system_prompt,
            tools=self._refs if mode.uses_tools else (),
            limits=agent.limits,
            max_history=agent.max_history,
            sources=received.sources,
            locale=self._locale,
        )

    async def _write(self, draft: _Draft) -> Accepted:
        is_new = await self._log.reader.head(draft.stream) == 0
        try:
            try:
                appended = await self._append(draft, is_new=is_new)
            except OffsetConflict:  # somebody else was first: the stream is there now
                is_new = False
                appended = await self._append(draft, is_new=False)
        except IdempotencyMismatch:
            return await self._taken_before(draft)
        partition = self._log.partition_of(draft.stream)
        return draft.accepted(
            appended.last_offset,
            appended.last_position,
            partition,
            created=is_new and not appended.duplicate,
            duplicate=appended.duplicate,
        )

    async def _append(self, draft: _Draft, *, is_new: bool) -> Appended:
        events = (
            [draft.created, draft.received, draft.requested] if is_new else [draft.received, draft.requested]
        )
        expected = 0 if is_new else None
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
        before = 2**62
        while page := await self._log.reader.stream_backwards(stream, before=before, limit=PAGE_EVENTS):
            for recorded in page:
                if recorded.type == "conversation.deleted":
                    return False
                if recorded.type in ALIVE_TYPES:
                    return True
            before = page[-1].offset
        return False


def message_id_of(seed: UUID) -> str:
    return str(derived_id(seed, "message"))
