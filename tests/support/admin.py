"""A stream of administration that a test writes itself, and keys whose secret it knows."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from app.auth.decisions import NewKey, key_of
from app.auth.directory import Directory
from app.core.envelope import Recorded
from app.core.events import AdminEvent, encode, event_type
from app.core.streams import ADMIN

START = datetime(2026, 1, 1, tzinfo=UTC)


class Register:
    """`add` records an event an hour after the last one; `directory` is what they make."""

    def __init__(self) -> None:
        self.recorded: list[Recorded] = []
        self.directory = Directory()

    def add(self, *events: AdminEvent, actor: str = "system") -> Directory:
        for event in events:
            offset = len(self.recorded) + 1
            at = START + timedelta(hours=offset)
            recorded = Recorded(
                ADMIN, offset, offset, 0, uuid4(), event_type(event), encode(event), 1, actor,
                None, None, None, None, at,
            )  # fmt: skip
            self.recorded.append(recorded)
            self.directory.apply(recorded)
        return self.directory

    @property
    def now(self) -> datetime:
        return START + timedelta(hours=len(self.recorded))


def new_key(user_id: str, number: int = 1, **fields: object) -> NewKey:
    """A key whose secret follows from its number."""
    return NewKey(f"key-{number}", key_of(bytes([number]) * 32), user_id, **fields)  # type: ignore[arg-type]
