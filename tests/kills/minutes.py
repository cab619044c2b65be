"""What the log holds of a conversation, in a form in which a killed run equals one that was left alone.

Left out: claims, times, durations, and ids, which become `task 1`, `task 2` … and `id`. Outcomes of parallel calls
stand in the order of their steps. A `once` call whose outcome nobody knows stands as the undisturbed run of that kind
has it (`tools.Effects`): as a call that failed with the same words.
"""

import re
from collections.abc import Sequence
from difflib import unified_diff
from typing import Any

import msgspec

from app.core.envelope import Recorded
from app.core.events import TERMINAL_TYPES

LEFT_OUT = frozenset({"duration_ms", "deadline_at", "until"})
NAMES_CHILDREN = frozenset({"run.child_awaited", "run.child_ended", "run.told", "team.phase_started"})
"""Their digests are of ids."""
LAST_WORDS = frozenset(
    {"message.answered", "message.interrupted", "operation.finished", "run.child_answered"}
)
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
Row = tuple[str, str]


def minutes(events: Sequence[Recorded], *, keys: bool = True) -> list[list[Row]]:
    """Of each task, in the order in which they were requested. `keys`: with the digests of what was asked for."""
    tasks = [str(one.task_id) for one in events if one.type == "run.requested"]
    names = {task: f"task {number}" for number, task in enumerate(tasks, start=1)}
    return [[_row(one, names, keys=keys) for one in _in_order(events, task)] for task in tasks]


def unknown(events: Sequence[Recorded]) -> int:
    """How many calls there are of which nobody knows what came of them."""
    return sum(one.type == "tool.effect_unknown" for one in events)


def _in_order(events: Sequence[Recorded], task: str) -> list[Recorded]:
    own = [
        one
        for one in events
        if str(one.task_id) == task and one.type not in ("run.claimed", "tool.effect_unknown")
    ]
    return sorted(own, key=_place)


def _place(one: Recorded) -> tuple[int, int, int]:
    if one.type in TERMINAL_TYPES:
        return (3, 0, 0)
    payload = msgspec.json.decode(one.payload)
    if "step" in payload:
        return (1, payload["step"], 0 if one.type.endswith("called") else 1)
    return (2 if one.type in LAST_WORDS else 0, 0, 0)


def _row(one: Recorded, names: dict[str, str], *, keys: bool) -> Row:
    left_out = LEFT_OUT if keys and one.type not in NAMES_CHILDREN else LEFT_OUT | {"key"}
    payload = _without(msgspec.json.decode(one.payload), left_out)
    if payload.get("error_class") == "effect_unknown":
        payload["error_class"] = "failed"
    text = msgspec.json.encode(payload, order="deterministic").decode()
    return one.type, _ID.sub(lambda found: names.get(found[0], "id"), text)


def _without(value: Any, left_out: frozenset[str]) -> Any:
    match value:
        case dict():
            return {key: _without(inner, left_out) for key, inner in value.items() if key not in left_out}
        case list():
            return [_without(inner, left_out) for inner in value]
        case _:
            return value


def difference(expected: Sequence[Sequence[Row]], found: Sequence[Sequence[Row]]) -> str:
    """Line by line."""
    lines = [[" ".join(row) for task in tasks for row in task] for tasks in (expected, found)]
    return "\n".join(unified_diff(*lines, "undisturbed", "killed", lineterm="", n=1))
