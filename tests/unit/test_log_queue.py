"""The queue of appends, without a database."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.log.batch import Waiting
from app.log.errors import LogOverloaded, LogUnavailable
from app.log.queue import BATCH_BYTES_MAX, BATCH_EVENTS_MAX, AppendQueue
from tests.support.events import make_event

LANES = 2


def waiting(stream: str, *, events: int = 1, size_bytes: int = 10, deadline: float = 1.0) -> Waiting:
    future = asyncio.get_running_loop().create_future()
    return Waiting(stream, (make_event(),) * events, (), (), size_bytes, future, deadline)


async def test_a_batch_ends_at_the_limit_of_events_and_of_bytes() -> None:
    queue = AppendQueue()
    for n in range(BATCH_EVENTS_MAX + 1):
        queue.put(waiting(str(n)))
    first = queue.take(0)
    assert first is not None
    assert len(first.appends) == BATCH_EVENTS_MAX
    second = queue.take(1)
    assert second is not None
    assert len(second.appends) == 1
    queue.put(waiting("large", size_bytes=BATCH_BYTES_MAX * 2))
    queue.put(waiting("small"))
    queue.release(0)
    large = queue.take(0)
    assert large is not None
    assert [one.stream for one in large.appends] == ["large"]


async def test_a_stream_that_a_lane_writes_is_left_to_wait() -> None:
    """Guard: `_busy`."""
    queue = AppendQueue()
    queue.put(waiting("a"))
    assert queue.take(0) is not None
    queue.put(waiting("a"))
    assert not queue.ready
    assert queue.take(1) is None
    queue.release(0)
    assert queue.ready


@pytest.mark.parametrize("where", ["door", "line", "lane"])
async def test_whoever_waits_too_long_gets_the_error_of_where_it_stands(where: str) -> None:
    queue = AppendQueue(events_max=1)
    appends = [waiting("a") for _ in range(3)]
    for one in appends:
        queue.put(one)
    queue.take(0)
    queue.expire(0.9)
    assert not any(one.done.done() for one in appends)
    queue.expire(1.0)
    error = appends[("lane", "line", "door").index(where)].done.exception()
    assert isinstance(error, LogOverloaded if where == "door" else LogUnavailable)
    assert getattr(error, "outcome_unknown", False) == (where == "lane")
    for one in appends:
        one.done.exception()
    assert queue.empty


operations = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 3), st.integers(1, 3)),
        st.tuples(st.just("take"), st.integers(0, LANES - 1), st.just(0)),
        st.tuples(st.just("release"), st.integers(0, LANES - 1), st.just(0)),
        st.tuples(st.just("cancel"), st.integers(0, 50), st.just(0)),
        st.tuples(st.just("expire"), st.integers(0, 20), st.just(0)),
    ),
    max_size=60,
)


@given(operations)
def test_any_order_of_things_keeps_the_promises(steps: list[tuple[str, int, int]]) -> None:
    """Within a stream nobody overtakes, no stream is in two lanes, and in the end nobody was forgotten."""
    asyncio.run(play(steps))


async def play(steps: list[tuple[str, int, int]]) -> None:
    queue = AppendQueue(events_max=5)
    put: list[Waiting] = []
    taken: list[Waiting] = []
    lanes: dict[int, set[str]] = {}

    def take(lane: int) -> bool:
        batch = queue.take(lane)
        if batch is None:
            return False
        assert set(batch.streams) == {one.stream for one in batch.appends}
        assert not any(lanes[other] & set(batch.streams) for other in lanes)
        lanes[lane] = set(batch.streams)
        taken.extend(batch.appends)
        return True

    def release(lane: int) -> None:
        del lanes[lane]
        queue.release(lane)

    for what, number, events in steps:
        if what == "put":
            put.append(waiting(f"s{number}", events=events, deadline=len(put) / 2))
            queue.put(put[-1])
        elif what == "take" and number not in lanes:
            take(number)
        elif what == "release" and number in lanes:
            release(number)
        elif what == "cancel" and number < len(put):
            put[number].done.cancel()
        elif what == "expire":
            queue.expire(number / 4)
    for lane in list(lanes):
        release(lane)
    while queue.ready:
        assert take(0) or queue.ready
        if 0 in lanes:
            release(0)
    assert queue.idle
    for stream in {one.stream for one in put}:
        order = [put.index(one) for one in taken if one.stream == stream]
        assert order == sorted(order)
    assert all(one.done.done() or one in taken for one in put)
    for one in put:
        if one.done.done() and not one.done.cancelled():
            one.done.exception()
