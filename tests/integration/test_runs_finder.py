"""Runs that nobody holds are found and taken up, by any node, and only those."""

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
import pytest

from app.composition.finding import finder_of
from app.gateway.scripted import ScriptedModel
from app.log.errors import LogUnavailable
from app.log.log import Log, open_log
from app.runs.accept import Accepted
from app.runs.finder import Finder
from projections import tasks
from projections.reads import ViewsUnavailable, read_pool
from tests.support.runs import WAIT_SECONDS, DyingLog, Killed, StuckModel, process, task_events, types, until

QUESTION = "A question that takes its time"
LONG_AGO = datetime.now(UTC) - timedelta(hours=1)


class Seen(msgspec.Struct, frozen=True):
    task_id: UUID
    stream: str
    created_at: datetime


def seen(accepted: Accepted, created_at: datetime = LONG_AGO) -> Seen:
    return Seen(accepted.task_id, accepted.stream, created_at)


async def test_a_run_whose_process_died_goes_on_elsewhere_once_its_lease_is_over(log: Log, dsn: str) -> None:
    other = await open_log(dsn, node_id="other")
    try:
        model = ScriptedModel.of("yes")
        async with process(DyingLog(log, 3, written=True), model, lease_seconds=0.3) as p:  # type: ignore[arg-type]
            accepted = await p.conversations.accept("alice", QUESTION, "c")
            with contextlib.suppress(Killed):
                await p.runs.start(accepted)
        async with process(other, model, lease_seconds=0.3) as there:
            finder = Finder(other, there.runs, lambda: listed(seen(accepted)))
            await finder.open()
            await until(other, accepted.stream, "run.completed", accepted.task_id)
            await finder.close()
    finally:
        await other.close()
    claimed = [one for one in await task_events(log, accepted) if one.type == "run.claimed"]
    assert [msgspec.json.decode(one.payload)["worker"] for one in claimed] == [log.node_id, "other"]


async def listed(*tasks: Seen) -> list[Seen]:
    return list(tasks)


async def test_what_somebody_holds_or_has_just_come_is_left_alone(log: Log, dsn: str) -> None:
    other = await open_log(dsn, node_id="other")
    model = StuckModel("")
    try:
        async with process(log, model) as here, process(other, model) as there:
            held = await here.conversations.accept("alice", QUESTION, "c")
            here.runs.start(held)
            async with asyncio.timeout(WAIT_SECONDS):
                await model.reached.wait()
            young = await here.conversations.accept("alice", QUESTION, "d")
            tasks = [seen(held), seen(young, datetime.now(UTC))]
            assert await Finder(other, there.runs, lambda: listed(*tasks)).look() == 0
            assert await Finder(log, here.runs, lambda: listed(seen(held))).look() == 0
            assert await Finder(other, there.runs, lambda: listed(seen(young))).look() == 1
            model.go_on.set()
            await until(log, young.stream, "run.completed", young.task_id)
    finally:
        await other.close()


async def test_a_task_that_ended_meanwhile_is_looked_at_and_left(log: Log) -> None:
    async with process(log, ScriptedModel.of("yes")) as p:
        events = await p.run(QUESTION, conversation_id="c")
        task = Seen(events[0].task_id or UUID(int=0), events[0].stream, LONG_AGO)
        assert await Finder(log, p.runs, lambda: listed(task)).look() == 1
        await asyncio.gather(*p.runs._tasks())
        assert types([one async for one in log.reader.all_of(task.stream)])[-1] == "run.completed"


async def test_a_view_that_fails_does_not_end_the_search(log: Log) -> None:
    looks: asyncio.Queue[int] = asyncio.Queue()

    async def fails() -> list[Seen]:
        looks.put_nowait(1)
        raise RuntimeError("no view")

    async with process(log, ScriptedModel.of("yes"), lease_seconds=0.3) as p:
        finder = Finder(log, p.runs, fails)
        await finder.open()
        async with asyncio.timeout(WAIT_SECONDS):
            for _ in range(3):
                await looks.get()
        await finder.close()


async def test_views_that_are_away_are_no_fault_of_the_search(
    log: Log, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guard: a traceback every few seconds for as long as the database is away."""

    async def away(_: object) -> None:
        raise ViewsUnavailable

    monkeypatch.setattr(tasks, "open_tasks", away)
    async with process(log, ScriptedModel.of("yes")) as p, read_pool(dsn) as reads:
        with pytest.raises(LogUnavailable):
            await finder_of(log, p.runs, reads).look()


async def test_a_run_that_takes_its_workers_down_with_it_is_ended_at_last(log: Log) -> None:
    model = ScriptedModel.of("yes")
    async with process(log, model) as p:
        accepted = await p.conversations.accept("alice", QUESTION, "c")
    for _ in range(20):
        async with process(DyingLog(log, 1, written=True), model) as p:  # type: ignore[arg-type]
            with contextlib.suppress(Killed):
                await p.runs.resume(accepted.task_id, accepted.stream)
    async with process(log, model) as p:
        await p.runs.resume(accepted.task_id, accepted.stream)
    events = await task_events(log, accepted)
    assert types(events)[-1] == "run.failed"
    assert msgspec.json.decode(events[-1].payload)["error_class"] == "crash_loop"
