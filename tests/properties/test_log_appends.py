"""Any interleaving of appends: the log has no gap and no double, and what each caller was told is what is in it."""

import asyncio
from uuid import UUID

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.envelope import NewEvent, Recorded
from app.log.batch import Appended
from app.log.errors import IdempotencyMismatch, OffsetConflict
from tests.support.events import make_event
from tests.support.logs import contents
from tests.support.nodes import Nodes


class Step(msgspec.Struct, frozen=True):
    """`expected`: None, or the head as it was before the round, plus this."""

    node: int
    stream: int
    texts: tuple[str, ...]
    key: str | None
    expected: int | None
    cancelled: bool


steps = st.builds(
    Step,
    node=st.integers(0, 1),
    stream=st.integers(0, 2),
    texts=st.lists(st.sampled_from("ab"), min_size=1, max_size=3).map(tuple),
    key=st.none() | st.sampled_from(["k1", "k2"]),
    expected=st.none() | st.integers(-1, 2),
    cancelled=st.integers(0, 9).map(lambda n: n == 0),
)
rounds = st.lists(st.lists(steps, min_size=1, max_size=8), min_size=1, max_size=4)


class Done(msgspec.Struct):
    step: Step
    stream: str
    expected: int | None
    events: list[NewEvent]
    result: Appended | BaseException


@settings(max_examples=60)
@given(plan=rounds)
def test_what_callers_are_told_is_what_is_in_the_log(nodes: Nodes, plan: list[list[Step]]) -> None:
    nodes.run(play(nodes, plan))


async def play(nodes: Nodes, plan: list[list[Step]]) -> None:
    prefix = nodes.fresh()
    reader = nodes.logs[0].reader
    start = await reader.position()
    done: list[Done] = []
    for steps in plan:
        heads = {number: await reader.head(f"{prefix}/{number}") for number in range(3)}
        done += await asyncio.gather(*(perform(nodes, prefix, step, heads[step.stream]) for step in steps))
    written = await reader.partition(after=start)  # refuses holes
    streams: dict[str, list[Recorded]] = {f"{prefix}/{number}": [] for number in range(3)}
    for recorded in written:
        streams[recorded.stream].append(recorded)
    for stream, events in streams.items():
        assert events == await reader.stream(stream)
        assert [recorded.offset for recorded in events] == list(range(1, len(events) + 1))
    first_with_key = {
        (one.stream, one.step.key): one.step.texts
        for one in done
        if isinstance(one.result, Appended) and not one.result.duplicate
    }
    claimed: list[UUID] = []
    for one in done:
        claimed += check(one, streams[one.stream], first_with_key)
    ids = [recorded.id for recorded in written]
    assert len(set(ids)) == len(ids)
    assert set(claimed) <= set(ids)
    cancelled = {
        event.id for one in done if isinstance(one.result, asyncio.CancelledError) for event in one.events
    }
    assert set(ids) - set(claimed) <= cancelled


async def perform(nodes: Nodes, prefix: str, step: Step, head: int) -> Done:
    stream = f"{prefix}/{step.stream}"
    events = [make_event(text) for text in step.texts]
    expected = None if step.expected is None else max(0, head + step.expected)
    task = asyncio.create_task(
        nodes.logs[step.node].append(stream, events, expected_offset=expected, idempotency_key=step.key)
    )
    if step.cancelled:
        await asyncio.sleep(0)
        task.cancel()
    (result,) = await asyncio.gather(task, return_exceptions=True)
    return Done(step, stream, expected, events, result)


def key_as_stored(key: str | None, count: int) -> list[str | None]:
    return [key, *(None if key is None else f"{key}\x1f{number}" for number in range(1, count))]


def check(
    one: Done, stream: list[Recorded], first_with_key: dict[tuple[str, str | None], tuple[str, ...]]
) -> list[UUID]:
    """Returns the ids of events that this append says it has written."""
    key = one.step.key
    keyed = next(
        (recorded for recorded in stream if key is not None and recorded.idempotency_key == key), None
    )
    match one.result:
        case Appended(duplicate=duplicate):
            place = stream[one.result.first_offset - 1 : one.result.last_offset]
            assert tuple(contents(place)) == one.step.texts
            assert place[-1].position == one.result.last_position
            assert [recorded.idempotency_key for recorded in place] == key_as_stored(key, len(place))
            if duplicate:
                assert place[0] is keyed
                return []
            assert [recorded.id for recorded in place] == [event.id for event in one.events]
            assert one.expected in (None, one.result.first_offset - 1)
            return [event.id for event in one.events]
        case OffsetConflict(actual=actual):
            assert one.expected is not None
            assert actual != one.expected
            assert actual <= len(stream)
        case IdempotencyMismatch():
            assert keyed is not None
            assert one.step.texts != first_with_key.get((one.stream, one.step.key))
        case asyncio.CancelledError():
            assert one.step.cancelled
        case other:
            raise AssertionError(f"unexpected: {other!r}")
    return []
