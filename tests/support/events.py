"""Events for tests that do not care what is in them."""

from collections.abc import Callable
from uuid import UUID, uuid4

from app.core.envelope import NewEvent
from app.core.events import MessageReceived

MakeEvent = Callable[..., NewEvent]
STREAM = "conversation/alice/1"


def make_event(
    content: str = "hello",
    *,
    message_id: str = "m1",
    actor: str = "user:alice",
    event_id: UUID | None = None,
    task_id: UUID | None = None,
) -> NewEvent:
    """A message of a person's, with a random event id unless given."""
    payload = MessageReceived(message_id=message_id, content=content)
    return NewEvent(event_id or uuid4(), payload, actor, task_id)
