"""What has to hold after a kill, from the log in Postgres alone (and the file in which tools count)."""

from collections import Counter
from collections.abc import Sequence

import asyncpg

from app.core.envelope import Recorded
from app.core.events import TERMINAL_TYPES
from tests.kills.client import Client, Seen
from tests.kills.tools import ONCE, Effects

AFTER_THE_END = frozenset({"run.cancel_requested"})
CLOSES = {
    "model.answered": "model.called",
    "model.failed": "model.called",
    "tool.returned": "tool.called",
    "tool.effect_unknown": "tool.called",
    "run.child_ended": "run.child_awaited",
}
SHOWN_AS = {
    "routing": "run.requested",
    "final_answer": "message.answered",
    "tool_call": "tool.called",
    "tool_result": "tool.returned",
}
WHOLE = """
SELECT count(*) AS events, count(DISTINCT id) AS ids,
    (SELECT count(*) FROM (
        SELECT stream_id FROM events GROUP BY stream_id
        HAVING max(stream_offset) <> count(*) OR min(stream_offset) <> 1
    ) AS gaps) AS streams_with_gaps,
    (SELECT count(*) FROM (
        SELECT e.partition FROM events e JOIN partitions p USING (partition) GROUP BY e.partition, p.position
        HAVING max(e.position) <> count(*) OR p.position <> count(*)
    ) AS gaps) AS partitions_with_gaps
FROM events
"""


class Broken(AssertionError):
    """Something that has to hold does not."""


def demand(holds: object, what: str) -> None:
    """Raises `Broken`."""
    if not holds:
        raise Broken(what)


def check_conversation(events: Sequence[Recorded], client: Client, effects: Effects, tasks: int) -> None:
    """One terminal event each, outcomes behind their intents, what the client was told, and tools. Raises `Broken`."""
    stream = client.stream
    demand([one.offset for one in events] == list(range(1, len(events) + 1)), f"{stream}: offsets have gaps")
    requested = [one.task_id for one in events if one.type == "run.requested"]
    demand(len(requested) == len(set(requested)) == tasks, f"{stream}: {len(requested)} tasks, not {tasks}")
    for task_id in requested:
        own = [one for one in events if one.task_id == task_id]
        ends = [n for n, one in enumerate(own) if one.type in TERMINAL_TYPES]
        demand(len(ends) == 1, f"{stream}: task {task_id} has {len(ends)} terminal events")
        late = [one.type for one in own[ends[0] + 1 :] if one.type not in AFTER_THE_END]
        demand(not late, f"{stream}: {late} behind the end of task {task_id}")
        _check_steps(own, f"{stream}: task {task_id}")
    _check_acknowledged(events, client)
    _check_effects(events, client, effects)


async def check_log(connection: asyncpg.Connection) -> int:
    """The log as a whole: how many events there are. Raises `Broken`."""
    row = await connection.fetchrow(WHOLE)
    assert row is not None
    demand(row["ids"] == row["events"], f"{row['events']} events with {row['ids']} ids")
    demand(not row["streams_with_gaps"], f"{row['streams_with_gaps']} streams have gaps")
    demand(not row["partitions_with_gaps"], "positions have gaps")
    return row["events"]


def _check_steps(own: Sequence[Recorded], where: str) -> None:
    called: Counter[tuple[str, int]] = Counter()
    closed: Counter[tuple[str, int]] = Counter()
    for one in own:
        if one.type in CLOSES.values():
            called[one.type, _step(one)] += 1
        elif (of := CLOSES.get(one.type)) is not None:
            demand(called[of, _step(one)] == 1, f"{where}: {one.type} without its intent")
            if one.type != "tool.effect_unknown":
                closed[of, _step(one)] += 1
    demand(called == closed, f"{where}: calls {called} and outcomes {closed}")


def _step(one: Recorded) -> int:
    return one.event().step  # type: ignore[union-attr]


def _check_acknowledged(events: Sequence[Recorded], client: Client) -> None:
    received = Counter(
        one.event().client_message_id  # type: ignore[union-attr]
        for one in events
        if one.type == "message.received"
    )
    for message in client.acknowledged:
        demand(received[message], f"{client.stream}: {message} was acknowledged and is lost")
    demand(
        all(times == 1 for times in received.values()), f"{client.stream}: taken more than once: {received}"
    )
    for seen in client.seen:
        demand(
            _is_there(events, seen), f"{client.stream}: the client saw {seen}, the log holds something else"
        )


def _is_there(events: Sequence[Recorded], seen: Seen) -> bool:
    if seen.offset > len(events):
        return False
    there = events[seen.offset - 1]
    if SHOWN_AS.get(seen.name, there.type) != there.type:
        return False
    return seen.name != "final_answer" or seen.data["data"]["content"] == there.event().content  # type: ignore[union-attr]


def _check_effects(events: Sequence[Recorded], client: Client, effects: Effects) -> None:
    """A `once` tool never twice, and once where its outcome is known; any other with one key for one call."""
    happened = effects.happened(client.conversation_id)
    times = Counter(effect.name for effect in happened if effect.name in ONCE)
    by_key = Counter(effect.key for effect in happened if effect.name in ONCE)
    twice = [key for key, number in by_key.items() if number > 1]
    demand(not twice, f"{client.stream}: carried out again: {twice}")
    keys_of: dict[tuple[str, str], set[str]] = {}
    for name, key, text in happened:
        keys_of.setdefault((name, text), set()).add(key)
    for (name, text), keys in keys_of.items():
        demand(len(keys) == 1, f"{client.stream}: {name} {text!r} was handed {len(keys)} keys")
    known: Counter[str] = Counter()
    unsure: Counter[str] = Counter()
    for one in events:
        if one.type == "tool.returned" and (event := one.event()).name in ONCE:  # type: ignore[union-attr]
            if event.error_class in ("failed", "effect_unknown"):  # type: ignore[union-attr]
                unsure[event.name] += 1  # type: ignore[union-attr]
            elif event.content.startswith(event.name):  # type: ignore[union-attr]
                known[event.name] += 1  # type: ignore[union-attr]
    for name in known | unsure | times:
        low, high, there = known[name], known[name] + unsure[name], times[name]
        demand(
            low <= there <= high, f"{client.stream}: {name} took effect {there} times, not {low} to {high}"
        )
