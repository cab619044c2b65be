"""What clients see of a turn, before it is a frame of this or that surface."""

from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from app.api.fallbacks import Fallback
from app.core.events import QuotaInfo

ERROR_CHARS_MAX = 200
LIVE_RESETS = frozenset({"expert_result_chunk_reset"})
"""Pieces that take back live text. Who was not told that text is not told these."""


class Part(NamedTuple):
    """A piece of what the event at `offset` shows, before its last one; counted from 1 without `LIVE_RESETS`."""

    offset: int
    number: int


class Step(msgspec.Struct, frozen=True):
    """One step of a turn. `name` is `thinking`, `tool_call`, `tool_result`, `token`, `final_answer`, `step` (an
    interrupted answer), one of `app.core.steps.NAMES`, or `expert_silent`.

    `offset` is where in the log it stands; None for tokens, which are not in the log, and where more of the same event
    follows: `part` then says which of its pieces this is.
    """

    name: str
    step: int
    data: dict[str, Any]
    timestamp: datetime
    offset: int | None = None
    part: Part | None = None


class Meeting(msgspec.Struct, frozen=True):
    """A frame of its own: `name` is one of `app.api.meeting_wire.FRAMES`. `offset` and `part` as with steps. `task_id`:
    that of another task than the turn's."""

    name: str
    data: dict[str, Any]
    timestamp: datetime
    offset: int | None = None
    task_id: str | None = None
    part: Part | None = None


class Routed(msgspec.Struct, frozen=True):
    skill: str | None
    method: str
    confidence: float
    mode: str
    offset: int | None
    timestamp: datetime | None = None

    @property
    def data(self) -> dict[str, Any]:
        """As every surface tells it."""
        return {
            "skill": self.skill,
            "method": self.method,
            "confidence": self.confidence,
            "mode": self.mode,
        }


class Ended(msgspec.Struct, frozen=True):
    """The end of a task: `completed` with the message, `failed` with one sentence, `cancelled`, or `steered`: another
    task, `merged_into`, answers its message. `fallback` where the last tier of the fallback chain answered. `steps` and
    `tokens` are those of all of its model calls; `quota_info` where a quota has ended it."""

    status: str
    message: str
    timestamp: datetime
    offset: int
    message_id: str | None = None
    fallback: Fallback | None = None
    merged_into: str | None = None
    error_class: str | None = None
    steps: int = 0
    tokens: int = 0
    quota_info: QuotaInfo | None = None

    @property
    def told_of_quota(self) -> dict[str, Any]:
        """`quota_info` of the quota that has ended the task, for the data of an error; else empty."""
        return {} if self.quota_info is None else {"quota_info": self.quota_info}


Shown = Step | Meeting | Routed | Ended
Piece = Step | Meeting


def last_with_offset(shown: list[Shown], offset: int) -> list[Shown]:
    """Of what one event shows only the last piece has its offset: a client that has that one has all of them."""
    if len(shown) == 1:
        return [msgspec.structs.replace(shown[0], offset=offset)]
    before: list[Shown] = []
    number = 0
    for one in shown[:-1]:
        if isinstance(one, Step | Meeting):
            counts = one.name not in LIVE_RESETS
            number += counts
            part = Part(offset, number) if counts else None
            before.append(msgspec.structs.replace(one, offset=None, part=part))
        else:
            before.append(one if isinstance(one, Ended) else msgspec.structs.replace(one, offset=None))
    return [*before, *(msgspec.structs.replace(one, offset=offset) for one in shown[-1:])]


def cut(message: str) -> str:
    """Errors have at most 200 characters."""
    return message if len(message) <= ERROR_CHARS_MAX else message[: ERROR_CHARS_MAX - 1] + "…"
