"""The scheduled check of the views, and what `/metrics` tells of checks, whoever has made them."""

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta

from app.log.log import Log
from app.telemetry import figures
from projections import ALL
from projections.gentle import GentleCheck
from projections.reads import ReadPool
from projections.schedule import CheckSchedule
from projections.verdicts import Verdict, Verdicts


async def open_checks(
    stack: AsyncExitStack,
    log: Log,
    reads: ReadPool,
    dsn: str,
    *,
    every_hours: float,
    stopping: asyncio.Event,
) -> None:
    """Call it when the views have been built. `every_hours` 0: nothing is checked here. A check that is under way ends
    with `stopping`, long before the rest of the service."""
    verdicts = Verdicts(log, ALL, changed=_tell)
    await verdicts.open()
    stack.push_async_callback(verdicts.close)
    if not every_hours:
        return
    schedule = CheckSchedule(
        log, reads, ALL, verdicts, timedelta(hours=every_hours), lambda one: GentleCheck(dsn, one)
    )
    await schedule.open()

    async def stop() -> None:
        await stopping.wait()
        await schedule.close()

    watching = asyncio.create_task(stop(), name="scheduled-checks-stop")

    async def close() -> None:
        if not stopping.is_set():
            watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await schedule.close()

    stack.push_async_callback(close)


def _tell(found: dict[str, Verdict]) -> None:
    figures.views_checked(
        (one.name, one.checked_at.timestamp(), one.differences, bool(one.problem)) for one in found.values()
    )
