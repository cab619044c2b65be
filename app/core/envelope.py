"""What stands around every event: where it is in the log, who made it, and what it belongs to."""

from datetime import datetime
from uuid import UUID

import msgspec

from app.core import events
from app.core.events import Event, UnknownEvent

SYSTEM = "system"


class NewEvent(msgspec.Struct, frozen=True, gc=False):
    """An event on its way into the log. `actor` is `user:ID`, `agent:NAME` or `system`."""

    id: UUID
    payload: Event
    actor: str = SYSTEM
    task_id: UUID | None = None
    causation_id: UUID | None = None
    correlation_id: UUID | None = None


class Recorded(msgspec.Struct, frozen=True, gc=False):
    """An event as the log holds it. `payload` is JSON text exactly as stored; decode it only where it is needed.

    `offset` counts 1, 2, 3 … within `stream`, `position` within `partition`: neither has gaps.
    """

    stream: str
    offset: int
    position: int
    partition: int
    id: UUID
    type: str
    payload: str
    schema_version: int
    actor: str
    task_id: UUID | None
    causation_id: UUID | None
    correlation_id: UUID | None
    idempotency_key: str | None
    recorded_at: datetime

    def event(self) -> Event | UnknownEvent:
        return events.decode(self.type, self.payload)


def user_actor(user_id: str) -> str:
    return f"user:{user_id}"


def agent_actor(agent: str) -> str:
    return f"agent:{agent}"
