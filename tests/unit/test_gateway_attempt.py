"""One attempt at a model: its time limit, and that it is stopped whoever ends it."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from app.core.messages import ModelAnswer, ModelRequest
from app.gateway import attempt
from app.gateway.model import AttemptBegun, ModelEvent, TextDelta
from tests.support.tiers import HELLO, Plays, Stuck, attempts, chain, failed, told


async def test_a_model_that_stalls_is_a_time_out_and_is_stopped() -> None:
    stuck = Stuck("m")
    events = await told(chain(stuck, Plays("r", "yes"), timeout_seconds=0.02))
    assert attempts(events)[1] == ("failed", 1, "main", "timeout")
    assert events[-1] == ModelAnswer("r", "yes")
    assert stuck.stopped == 1


async def test_one_that_stalls_in_its_answer_is_a_time_out_with_what_there_was() -> None:
    stuck = Stuck("m", TextDelta("Half"))
    seen, error = await failed(chain(stuck, Plays("r", "no"), timeout_seconds=0.02))
    assert (seen[1:], error.error_class, stuck.stopped) == ([TextDelta("Half")], "timeout", 1)


async def test_one_that_does_not_stop_is_left_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt, "STOP_SECONDS", 0.01)
    deaf = Stuck("m", polite=False)
    events = await told(chain(deaf, Plays("r", "yes"), timeout_seconds=0.01))
    assert events[-1] == ModelAnswer("r", "yes")
    (stray,) = attempt._strays
    deaf.let_go.set()
    await asyncio.wait({stray})
    assert not attempt._strays


async def test_closing_the_stream_stops_the_model() -> None:
    stuck = Stuck("m", TextDelta("Half"))
    events = chain(stuck).stream(HELLO)
    assert [await anext(events), await anext(events)] == [AttemptBegun(1, "main", "m"), TextDelta("Half")]
    await stuck.waiting.wait()
    await events.aclose()
    assert stuck.stopped == 1


async def test_cancelling_the_caller_stops_the_model_and_nothing_follows() -> None:
    stuck, recovery = Stuck("m"), Plays("r", "no")
    calling = asyncio.create_task(told(chain(stuck, recovery, retries=2)))
    await stuck.waiting.wait()
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert (stuck.stopped, recovery.requests) == (1, [])


async def test_a_model_that_cancels_itself_is_a_failure_like_any_other() -> None:
    class Confused(Plays):
        async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
            raise asyncio.CancelledError
            yield TextDelta("")

    events = await told(chain(Confused("m"), Plays("r", "yes")))
    assert attempts(events)[1] == ("failed", 1, "main", "internal")


async def test_a_fast_model_is_not_read_further_than_its_reader_goes() -> None:
    read: list[int] = []

    class Endless(Plays):
        async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
            for n in range(100_000):
                read.append(n)
                yield TextDelta("x")

    events = chain(Endless("m")).stream(HELLO)
    await anext(events)
    await anext(events)
    for _ in range(1000):
        await asyncio.sleep(0)
    assert len(read) <= attempt.EVENTS_WAITING_MAX + 3
    await events.aclose()
