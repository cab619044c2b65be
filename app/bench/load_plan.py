"""What the clients of the load benchmark are to do, and what they have seen: between its two processes, as JSON."""

from typing import Literal

import msgspec

Phase = Literal["opening", "warm-up", "tenth", "load"]
"""Every socket says one thing; then a tenth of the rate, which is the baseline of the waits; then the load."""

TOOL_WORD = "calculate"
"""A message with it makes the scripted model call a tool first."""


class User(msgspec.Struct, frozen=True):
    user_id: str
    api_key: str


class Plan(msgspec.Struct, frozen=True):
    """`rate`: messages a second of all sockets together. Every `drop_every`th message of the load (5 %) has its socket
    dropped in the middle of the answer, and every `tool_every`th calls a tool."""

    host: str
    port: int
    users: list[User]
    sockets: int
    rate: float
    seconds: float
    tenth_seconds: float
    drop_every: int = 19
    tool_every: int = 10


class Told(msgspec.Struct, frozen=True, array_like=True):
    """A frame that has an offset. `kind` is its type, of a step its `event_type`."""

    offset: int
    kind: str
    task_id: str


class Live(msgspec.Struct):
    """What a client holds of an answer's live text, by the frames that it was sent."""

    text: str = ""
    thinking: str = ""


class Said(msgspec.Struct):
    """A message, and what came of it. Waits are in seconds from when it was due; None: it did not come."""

    phase: Phase
    content: str
    first_wait: float | None = None
    result_wait: float | None = None
    result_at: float = 0.0
    task_id: str = ""
    answer: str | None = None
    dropped: bool = False


class Talk(msgspec.Struct):
    """A conversation as its client has seen it. `told` in the order in which it came, over all of its sockets; `live`
    by the id of the answer; `troubles` are sentences about what should not have come."""

    user_id: str
    conversation_id: str
    told: list[Told] = []
    live: dict[str, Live] = {}
    said: list[Said] = []
    troubles: list[str] = []
    live_frames: int = 0


class Seen(msgspec.Struct, frozen=True):
    """Everything that the clients have seen."""

    talks: list[Talk]
