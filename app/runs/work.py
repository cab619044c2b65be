"""Bringing one run to its end: claimed, driven from what is recorded, ended once."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import assert_never

import msgspec
import structlog

from app.agents.modes import MODES
from app.core.intents import Mode
from app.core.streams import conversation_key
from app.core.texts import Locale, text
from app.gateway.model import Model
from app.log.errors import LeaseLost, LogError, LogUnavailable
from app.log.log import Log
from app.runs.children import Children
from app.runs.driver import Driver
from app.runs.ears import Ears
from app.runs.effects import Effects
from app.runs.ending import Answered, Cancelled, Ending, Failed
from app.runs.entry import Entry
from app.runs.ledger import Ledger, patiently
from app.runs.lessons import FindLessons, give_lessons
from app.runs.observed import Observed, observed_run
from app.runs.operations import Operations, Starts
from app.runs.people import Requests
from app.runs.quotas import Quotas, RunQuota
from app.runs.record import RunRecord, Stop, fold, read_events
from app.runs.start import locale_of, run_start
from app.runs.turn import open_tasks
from app.tools.toolbox import ToolBox

CLAIMS_IN_A_ROW_MAX = 20
"""Workers that took a run and got nowhere; the next one ends it instead of dying of it too."""

LEAST_WAIT_SECONDS = 0.05
FORGOTTEN = Stop("system", "the conversation was deleted", forgotten=True)

logger = structlog.get_logger(__name__)


class Means(msgspec.Struct, frozen=True):
    """What runs are carried out with. `now` is the clock that tools are given. Without `quotas` none are set, without
    `find_lessons` there are no past experiences."""

    log: Log
    model: Model
    toolbox: ToolBox
    ttl: timedelta
    deadline_seconds: float
    now: Callable[[], datetime]
    starts: Starts
    quotas: Quotas | None = None
    find_lessons: FindLessons | None = None


async def see_through(means: Means, entry: Entry) -> bool:
    """Wait for the run's turn and a slot, then bring it to its end. False if it is left to another worker.

    Raises `LeaseLost` and `LogUnavailable`.
    """
    in_turn = await _turn(means, entry)
    async with entry.slot.entered(entry.stopped):
        if entry.stopped.done() and entry.stopped.result() is None:
            return False
        return await _own(means, entry, in_turn=in_turn)


async def _turn(means: Means, entry: Entry) -> bool:
    """Wait until every task that was requested before this one has ended; False if it was stopped meanwhile."""
    found = await patiently(lambda: open_tasks(means.log.reader, entry.stream))
    own = next((task for task in found.tasks if task.task_id == entry.task_id), None)
    if own is None or own.began:  # an operation, or a run that had its turn
        return own is not None
    before = {task.task_id for task in found.tasks if task.offset < own.offset}
    await entry.until(lambda: before <= entry.ended)
    return not entry.stopped.done()


async def _own(means: Means, entry: Entry, *, in_turn: bool) -> bool:
    log = means.log
    lease = await patiently(lambda: log.claim(entry.task_id, log.node_id, means.ttl))
    if lease is None:
        return False
    entry.lease = lease
    events = await patiently(lambda: read_events(log.reader, entry.stream, entry.task_id))
    record = fold(events, entry.task_id)
    ended = True
    if record is not None and not record.ended:
        ledger = Ledger(log, entry.stream, lease, record, ttl=means.ttl)
        ended = await _drive(means, entry, record, ledger, in_turn=in_turn)
        lease = ledger.lease
    with suppress(LogError):
        await log.release(lease)
    return ended


async def _drive(means: Means, entry: Entry, record: RunRecord, ledger: Ledger, *, in_turn: bool) -> bool:
    locale = locale_of(record.requested.locale)
    until = record.history_until if record.began_at else record.head
    claimed_at = await ledger.claimed(history_until=until, in_turn=in_turn)
    entry.requests = requests = Requests(
        record, ledger, entry.slot, replies=entry.replies, deadline_seconds=means.deadline_seconds
    )
    entry.ears = ears = Ears(means.log, record, ledger)
    for message in entry.said:
        ears.say(message)
    for task_id in entry.ended:
        ears.withdraw(task_id)
    children = Children(record, ledger, entry, ears, means.starts, means.log.reader)
    effects = Effects(
        means.model,
        means.toolbox,
        means.log.live,
        record=record,
        ledger=ledger,
        requests=requests,
        operations=Operations(record, ledger, means.starts),
        locale=locale,
        now=means.now,
    )
    entry.interrupt = effects.interrupt
    key = conversation_key(entry.stream)
    quota = RunQuota(means.quotas, key.owner if key else "", record.requested, locale)
    driver = Driver(
        record, ledger, effects, requests, ears, children, quota, locale=locale, claimed_at=claimed_at
    )
    try:
        with observed_run(record, entry.stream) as observed:
            ending = await _ending(means, entry, record, ledger, driver, until, locale)
            if ending is not None:
                await driver.end(ending)
                _note_ending(observed, ending)
        return ending is not None
    finally:
        driver.forget()


def _note_ending(observed: Observed, ending: Ending) -> None:
    """How the run has ended."""
    match ending:
        case Answered():
            observed.ends("completed", failed=False)
        case Failed():
            observed.ends(ending.error_class, failed=True)
        case Cancelled():
            observed.ends("cancelled", failed=False)
        case _ as never:
            assert_never(never)


async def _ending(
    means: Means,
    entry: Entry,
    record: RunRecord,
    ledger: Ledger,
    driver: Driver,
    until: int,
    locale: Locale,
) -> Ending | None:
    """How the run ends; None if it is left to another worker."""
    try:
        if record.stop is not None:
            return Cancelled(record.stop)
        if record.claims_in_a_row >= CLAIMS_IN_A_ROW_MAX:
            return Failed("crash_loop", text("crash_loop", locale, times=record.claims_in_a_row))
        mode = MODES.get(record.requested.mode)
        if mode is None:
            return Failed("mode_missing", text("run_mode_gone", locale, mode=record.requested.mode))
        await give_lessons(means.find_lessons, entry, record, ledger)
        start = await patiently(lambda: run_start(means.log.reader, entry.stream, record, until))
        limit_seconds = record.requested.limits.timeout_seconds
        return await _until_stopped(entry, driver, mode.run(start), limit_seconds, locale)
    except (LeaseLost, LogUnavailable):
        raise
    except Exception:
        reference = str(record.task_id)[:8]
        logger.exception("run_broke", task_id=str(record.task_id), reference=reference)
        return Failed("internal", text("internal", locale, reference=reference))


async def _until_stopped(
    entry: Entry, driver: Driver, mode: Mode, limit_seconds: float, locale: Locale
) -> Ending | None:
    """The mode's own ending, or that of whoever is first: a cancel, the time limit, the loss of the lease."""
    work = asyncio.create_task(driver.advance(mode), name=f"mode-{entry.task_id}")
    late = False
    try:
        while not late and not work.done() and not entry.stopped.done():
            left_seconds = max(LEAST_WAIT_SECONDS, limit_seconds - driver.active_seconds)
            await asyncio.wait(
                {work, entry.stopped}, timeout=left_seconds, return_when=asyncio.FIRST_COMPLETED
            )
            late = driver.active_seconds >= limit_seconds
        if came_to_its_end := work.done():
            pass
        else:
            work.cancel()
            await asyncio.wait({work})
    finally:
        work.cancel()
    if not work.cancelled():
        return work.result()
    if came_to_its_end:
        raise RuntimeError("something within the run cancelled it")
    if not entry.stopped.done():
        return Failed("timeout", text("run_timeout", locale, seconds=f"{limit_seconds:g}"))
    stop = entry.stopped.result()
    return None if stop is None else Cancelled(stop)
