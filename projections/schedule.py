"""The scheduled check: every view at an interval, by one node at a time, one view after the other.

    look: what is due, by what is on record? ──► claim the lease ──► check what waits longest ──► put it on record
      ▲       │ nothing, or another node has it              ▲                                           │
      └─ rest ┴────────────────────── nothing is due any more ◄──────────────────────────────────────────┘

What is due is told by the log and the clock of the database: neither a restart nor a node's wrong clock changes it. The
result is appended under the lease: a node that was frozen, and lost it, puts nothing on record.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta

import psycopg
import structlog

from app.core.envelope import NewEvent
from app.core.ids import named_id
from app.core.streams import ADMIN
from app.log.batch import Lease
from app.log.errors import LeaseLost, LogError
from app.log.ids import new_id
from app.log.log import Log
from projections.gentle import GentleCheck, NotNow, run_gently
from projections.projection import AnyProjection
from projections.reads import ReadPool, ViewsUnavailable, now
from projections.verdicts import Verdicts, as_event

LEASE = named_id("scheduled check")
LEASE_SECONDS = 30.0
LOOK_SECONDS_MIN, LOOK_SECONDS_MAX = 0.1, 60.0
AGAIN_SECONDS = 300.0
"""How long a view that could not be checked is left alone by this node."""

logger = structlog.get_logger(__name__)


class CheckSchedule:
    """One instance a process. `open` it, then `close` it; or call `look` oneself."""

    def __init__(
        self,
        log: Log,
        reads: ReadPool,
        projections: Sequence[AnyProjection],
        verdicts: Verdicts,
        every: timedelta,
        prepare: Callable[[AnyProjection], GentleCheck],
        *,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        """`every`: how old what is on record of a view may be. `prepare` makes a check of a view."""
        self._log = log
        self._reads = reads
        self._projections = tuple(projections)
        self._verdicts = verdicts
        self._every = every
        self._prepare = prepare
        self._lease_seconds = lease_seconds
        self._resting: dict[str, float] = {}
        self._looking: asyncio.Task[None] | None = None

    async def open(self) -> None:
        self._looking = asyncio.create_task(self._look_forever(), name="scheduled-checks")

    async def close(self) -> None:
        """A check that is under way is given up, within some 2 s. May be called twice."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    async def look(self) -> float:
        """Check whatever is due, unless another node does; returns how many seconds to rest.

        Raises `LogError`, `ViewsUnavailable`; then what was not checked stays due.
        """
        if await self._next_due() is not None:
            lease = await self._log.claim(LEASE, self._log.node_id, timedelta(seconds=self._lease_seconds))
            if lease is None:
                return LOOK_SECONDS_MAX
            await self._round(lease)
        return await self._seconds_to_next()

    async def _check(self, projection: AnyProjection, lease: Lease) -> None:
        try:
            found = await run_gently(self._prepare(projection))
        except (psycopg.Error, NotNow) as error:
            logger.warning("view_not_checked", view=projection.name, error=f"{type(error).__name__}: {error}")
            self._leave_alone(projection)
            return
        except Exception:
            logger.exception("view_not_checked", view=projection.name)
            self._leave_alone(projection)
            return
        await self._log.append(ADMIN, [NewEvent(new_id(), as_event(found))], lease=lease)
        tell = logger.info if found.fine else logger.error
        tell(
            "view_checked",
            view=found.name,
            rows=found.rows,
            differences=found.differences,
            problem=found.problem,
        )

    def _leave_alone(self, projection: AnyProjection) -> None:
        self._resting[projection.name] = asyncio.get_running_loop().time() + AGAIN_SECONDS

    async def _next_due(self) -> AnyProjection | None:
        """The one that has waited longest, of those that are due."""
        waits = await self._waits()
        if not waits:
            return None
        name = min(waits, key=lambda name: waits[name])
        return next(one for one in self._projections if one.name == name) if waits[name] <= 0 else None

    async def _waits(self) -> dict[str, float]:
        """Seconds until each is due, without those that are left alone."""
        found = await self._verdicts.caught_up()
        at, loop_now = await now(self._reads), asyncio.get_running_loop().time()
        self._resting = {name: until for name, until in self._resting.items() if until > loop_now}
        return {
            one.name: (found[one.name].checked_at + self._every - at).total_seconds()
            if one.name in found
            else float("-inf")
            for one in self._projections
            if one.name not in self._resting
        }

    async def _seconds_to_next(self) -> float:
        seconds = min((await self._waits()).values(), default=LOOK_SECONDS_MAX)
        return min(max(seconds, LOOK_SECONDS_MIN), LOOK_SECONDS_MAX)

    async def _look_forever(self) -> None:
        while True:
            rest_seconds = LOOK_SECONDS_MAX
            try:
                rest_seconds = await self.look()
            except (LogError, ViewsUnavailable) as error:
                logger.warning("checks_wait", error=str(error))
            except Exception:
                logger.exception("checks_failed")
            await asyncio.sleep(rest_seconds)

    async def _round(self, lease: Lease) -> None:
        """Check what is due, and renew the lease meanwhile. Raises `LeaseLost` where another node has it."""
        checking = asyncio.create_task(self._check_due(lease), name="scheduled-check")
        renewing = asyncio.create_task(self._renew_until_lost(), name="scheduled-check-lease")
        try:
            await asyncio.wait({checking, renewing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            checking.cancel()
            renewing.cancel()
            await asyncio.gather(checking, renewing, return_exceptions=True)
            with suppress(LogError):  # then it ends by itself
                await self._log.release(lease)
        if checking.cancelled():
            raise LeaseLost(LEASE, lease.epoch)
        checking.result()

    async def _check_due(self, lease: Lease) -> None:
        # Looked for anew: another node may have checked it before it gave the lease back.
        while (projection := await self._next_due()) is not None:
            await self._check(projection, lease)

    async def _renew_until_lost(self) -> None:
        while True:
            await asyncio.sleep(self._lease_seconds / 3)
            with suppress(LogError):
                ttl = timedelta(seconds=self._lease_seconds)
                if LEASE not in await self._log.renew(self._log.node_id, [LEASE], ttl):
                    return
