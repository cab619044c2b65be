"""Chat sessions: conversations that are bound to an agent, opened and closed by events."""

from collections.abc import Callable
from typing import Any

import msgspec

from app.core import streams
from app.core.agent import Agent
from app.core.envelope import NewEvent, user_actor
from app.core.events import (
    ConversationCreated,
    ConversationTitled,
    SessionClosed,
    SessionMetadataSet,
    SessionOpened,
)
from app.core.ids import named_id
from app.core.messages import storable_json
from app.core.titles import GIVEN_CHARS_MAX, given_title
from app.log.errors import OffsetConflict
from app.log.ids import new_id
from app.log.log import Appended, Log
from app.runs.refused import Refused

METADATA_BYTES_MAX = 16 * 1024
HEAD_EVENTS = 2


class SessionUnknown(Refused):
    """The owner has no such session. Value: `id`."""

    key = "no_session"


class SessionTaken(Refused):
    """The id is that of another session or conversation, or of one that was deleted. Value: `id`."""

    key = "session_taken"


class MetadataTooLong(Refused):
    """Over the limit in bytes, as JSON. Values: `size`, `limit`."""

    key = "metadata_too_long"


class TitleTooLong(Refused):
    """Over the limit in characters. Values: `size`, `limit`."""

    key = "title_too_long"


class Sessions:
    """`find_agent` raises `AgentUnknown`."""

    def __init__(self, log: Log, find_agent: Callable[[str], Agent]) -> None:
        self._log = log
        self._find_agent = find_agent

    async def open(
        self,
        owner: str,
        agent_name: str,
        metadata: dict[str, Any] | None = None,
        *,
        session_id: str | None = None,
    ) -> tuple[str, Appended | None]:
        """The id of the new session, and its append; None for one that was opened before with the same agent and
        metadata under the `session_id` that the client chose. It may have been deleted since: the views know.

        Raises `AgentUnknown`, `SessionTaken`, `MetadataTooLong` (16 KiB), `InvalidConversationId`; nothing was written.
        """
        session_id = str(new_id()) if session_id is None else session_id
        stream, actor = streams.conversation(owner, session_id, name="session_id"), user_actor(owner)
        agent = self._find_agent(agent_name)
        encoded = _encoded(metadata or {})
        opened = SessionOpened(session_id, agent.name, encoded)
        created = ConversationCreated(session_id, owner)
        events = [NewEvent(new_id(), created, actor), NewEvent(new_id(), opened, actor)]
        try:
            return session_id, await self._log.append(stream, events, expected_offset=0)
        except OffsetConflict:
            if await self._opened(stream) != opened:
                raise SessionTaken(id=session_id[:80]) from None
            return session_id, None

    async def close(self, owner: str, session_id: str) -> Appended:
        """No further message is taken. Closed twice, it is closed once: then this is the first append again."""
        stream = streams.conversation(owner, session_id)
        event = NewEvent(named_id("session", stream, "closed"), SessionClosed(session_id), user_actor(owner))
        return await self._log.append(stream, [event], idempotency_key="session/closed")

    async def change(
        self,
        owner: str,
        session_id: str,
        *,
        title: str | None = None,
        metadata: dict[str, Any] | None = None,
        actor: str | None = None,
    ) -> Appended | None:
        """What is given is so from now on; None: nothing was given. No condition on what else is written meanwhile:
        a title stands whatever is said before or behind it.

        Raises `TitleTooLong` (200 characters), `MetadataTooLong` (16 KiB); nothing was written.
        """
        changes: list[ConversationTitled | SessionMetadataSet] = []
        if title is not None:
            given = given_title(title)
            if len(given) > GIVEN_CHARS_MAX:
                raise TitleTooLong(size=len(given), limit=GIVEN_CHARS_MAX)
            changes.append(ConversationTitled(given))
        if metadata is not None:
            changes.append(SessionMetadataSet(session_id, _encoded(metadata)))
        if not changes:
            return None
        by = actor or user_actor(owner)
        events = [NewEvent(new_id(), change, by) for change in changes]
        return await self._log.append(streams.conversation(owner, session_id), events)

    async def _opened(self, stream: str) -> SessionOpened | None:
        """How the session of this stream was opened; None if it is none."""
        for recorded in await self._log.reader.stream(stream, limit=HEAD_EVENTS):
            if isinstance(event := recorded.event(), SessionOpened):
                return event
        return None


def _encoded(metadata: dict[str, Any]) -> msgspec.Raw:
    """Raises `MetadataTooLong`."""
    encoded = msgspec.json.encode(storable_json(metadata))
    if len(encoded) > METADATA_BYTES_MAX:
        raise MetadataTooLong(size=len(encoded), limit=METADATA_BYTES_MAX)
    return msgspec.Raw(encoded)
