"""The queue of appends, without a database."""

import asyncio

import pytest
from hypothesis import given, settings
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


async def test_a_stream_that_is_let_in_while_it_is_taken_waits_for_its_lane() -> None:
    """Guard: `_busy` is set before others are let in."""
    queue = AppendQueue(events_max=1)
    queue.put(waiting("a"))
    queue.put(waiting("a"))
    assert queue.take(0) is not None
    assert queue.take(1) is None
    queue.release(0)
    assert queue.take(1) is not None


@settings(max_examples=300)
@given(operations)
def test_any_order_of_things_keeps_the_promises(steps: list[tuple[str, int, int]]) -> None:
    """Within a stream nobody overtakes, no stream is in two lanes, and in the end nobody was forgotten."""
    asyncio.run(play(steps))


class Game:
    """A queue with two lanes, and what has to hold at each move."""

    def __init__(self) -> None:
        self.queue = AppendQueue(events_max=5)
        self.put_in: list[Waiting] = []
        self.taken: list[Waiting] = []
        self.lanes: dict[int, set[str]] = {}

    def move(self, what: str, number: int, events: int) -> None:
        match what:
            case "put":
                self.put_in.append(waiting(f"s{number}", events=events, deadline=len(self.put_in) / 2))
                self.queue.put(self.put_in[-1])
            case "take" if number not in self.lanes:
                self.take(number)
            case "release" if number in self.lanes:
                self.release(number)
            case "cancel" if number < len(self.put_in):
                self.put_in[number].done.cancel()
            case "expire":
                self.queue.expire(number / 4)
            case _:
                pass

    def take(self, lane: int) -> None:
        batch = self.queue.take(lane)
        if batch is None:
            return
        streams = set(batch.streams)
        assert streams == {one.stream for one in batch.appends}
        assert not any(streams & other for other in self.lanes.values())
        self.lanes[lane] = streams
        self.taken.extend(batch.appends)

    def release(self, lane: int) -> None:
        del self.lanes[lane]
        self.queue.release(lane)

    def finish(self) -> None:
        for lane in list(self.lanes):
            self.release(lane)
        while self.queue.ready:
            self.take(0)
            if 0 in self.lanes:
                self.release(0)


async def play(steps: list[tuple[str, int, int]]) -> None:
    game = Game()
    for step in steps:
        game.move(*step)
    game.finish()
    assert game.queue.idle
    for stream in {one.stream for one in game.put_in}:
        order = [game.put_in.index(one) for one in game.taken if one.stream == stream]
        assert order == sorted(order)
    assert all(one.done.done() or one in game.taken for one in game.put_in)
    for one in game.put_in:
        if one.done.done() and not one.done.cancelled():
            one.done.exception()
