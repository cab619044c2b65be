"""What REST and socket have in common about chat sessions: finding one, and taking a message of one."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from app.api.portal import caught_up
from app.api.services import Services
from app.auth.principal import Principal
from app.runs.accept import Accepted
from app.runs.quotas import charge_of
from app.runs.sessions import Sessions, SessionUnknown
from projections import sessions_reads
from projections.sessions_reads import ShownSession


class SessionMessage(msgspec.Struct, frozen=True):
    """A message to a session's agent. `execution_mode` beats the agent's own mode. `client_message_id`: sent twice,
    taken once."""

    content: str
    role: Literal["user"] = "user"
    execution_mode: Annotated[str, Meta(max_length=80)] | None = None
    model: str | None = None
    sources: tuple[str, ...] = ()
    client_message_id: str | None = None


def sessions_of(services: Services) -> Sessions:
    return Sessions(services.log, services.conversations.roster.find_agent)


async def find_session(services: Services, owner: str, session_id: str) -> ShownSession:
    """The owner's session as it is now, whichever node has changed it. Raises `SessionUnknown`."""
    await caught_up(services)
    found = await sessions_reads.get(services.reads, owner, session_id)
    if found is None:
        raise SessionUnknown(id=session_id[:80])
    return found


async def accept(
    services: Services, principal: Principal, session_id: str, message: SessionMessage
) -> tuple[ShownSession, Accepted]:
    """Take a message of a session and start its task. Raises `SessionUnknown`, and what `Conversations.accept` raises
    (`SessionIsClosed` too); then nothing was written."""
    session = await find_session(services, principal.user_id, session_id)
    accepted = await services.conversations.accept(
        principal.user_id,
        message.content,
        session_id,
        model=message.model,
        sources=message.sources,
        client_message_id=message.client_message_id,
        agent=session.agent_name,
        mode=message.execution_mode,
        charge=charge_of(principal),
    )
    services.runs.start(accepted)
    return session, accepted
