"""What imported conversations add to the experiences: whether one ended well, and what its assistant did.

A conversation is an experience where its source gave it a `reward`: 1 or more is a success, less a failure.
"""

from typing import Any, Literal, NamedTuple
from uuid import UUID

import msgspec

from app.core.events import ConversationImported, MessageImported
from app.core.ids import named_id
from projections.imported import read_imported

IMPORTED = "imported"
"""Their kind of task."""


class ImportedWork(NamedTuple):
    """What a message shows of the work: a step is a message of the assistant's, as it is a call of the model in a run.
    `tools`: the names of those it called, as often as it did."""

    steps: int
    tools: tuple[str, ...]


class _Reward(msgspec.Struct):
    """Any JSON: only a number counts."""

    reward: Any = None


_rewards = msgspec.json.Decoder(_Reward)


def imported_id(stream: str) -> UUID:
    """Of the experience of an imported conversation."""
    return named_id("experience", stream)


def outcome_of(event: ConversationImported) -> Literal["success", "failure"] | None:
    """None where the source says nothing of how well the task went."""
    try:
        reward = _rewards.decode(event.fields).reward
    except msgspec.ValidationError:  # JSON has numbers that no computer has: 1e400
        return None
    if not isinstance(reward, int | float) or isinstance(reward, bool):
        return None
    return "success" if reward >= 1 else "failure"


def work_of(event: MessageImported) -> ImportedWork:
    """Nothing, for a message that is not the assistant's."""
    message = read_imported(event.message)
    if message.role != "assistant":
        return ImportedWork(0, ())
    return ImportedWork(1, tuple(_name_of(call) for call in message.tool_calls or ()))


def _name_of(call: dict[str, Any]) -> str:
    function = call.get("function")
    name = function.get("name") if isinstance(function, dict) else None  # type: ignore[union-attr]
    return name if isinstance(name, str) else "unknown"
