"""What clients see of a turn, before it is a frame of this or that surface."""

from datetime import datetime
from typing import Any

import msgspec

from app.api.fallbacks import Fallback

ERROR_CHARS_MAX = 200


class Step(msgspec.Struct, frozen=True):
    """One step of a turn. `name` is `thinking`, `tool_call`, `tool_result`, `token`, `final_answer`, `step` (an
    interrupted answer), one of `app.core.steps.NAMES`, or `expert_silent`.

    `offset` is where in the log it stands; None for tokens, which are not in the log, and where more of the same event
    follows.
    """

    name: str
    step: int
    data: dict[str, Any]
    timestamp: datetime
    offset: int | None = None


class Meeting(msgspec.Struct, frozen=True):
    """A frame of its own: `name` is one of `app.api.meeting_wire.FRAMES`. `offset` as with steps. `task_id`: that of
    another task than the turn's."""

    name: str
    data: dict[str, Any]
    timestamp: datetime
    offset: int | None = None
    task_id: str | None = None


class Routed(msgspec.Struct, frozen=True):
    skill: str | None
    method: str
    confidence: float
    mode: str
    offset: int | None


class Ended(msgspec.Struct, frozen=True):
    """The end of a task: `completed` with the message, `failed` with one sentence, `cancelled`, or `steered`: another
    task, `merged_into`, answers its message. `fallback` where the last tier of the fallback chain answered."""

    status: str
    message: str
    timestamp: datetime
    offset: int
    message_id: str | None = None
    fallback: Fallback | None = None
    merged_into: str | None = None
    error_class: str | None = None


Shown = Step | Meeting | Routed | Ended
Piece = Step | Meeting


def last_with_offset(shown: list[Shown], offset: int) -> list[Shown]:
    """Of what one event shows only the last piece has its offset: a client that has that one has all of them."""
    before = [
        one if isinstance(one, Ended) else msgspec.structs.replace(one, offset=None) for one in shown[:-1]
    ]
    return [*before, *(msgspec.structs.replace(one, offset=offset) for one in shown[-1:])]


def cut(message: str) -> str:
    """Errors have at most 200 characters."""
    return message if len(message) <= ERROR_CHARS_MAX else message[: ERROR_CHARS_MAX - 1] + "…"
