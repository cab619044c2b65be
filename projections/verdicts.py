"""What checks have found, as it is on record: events `projection.checked` of the stream `admin`.

a check ──► Checked ──as_event──► log ──► the newest Verdict of each view ──► /metrics, project status, what is due
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import msgspec
import structlog
from psycopg import Connection, RawCursor
from psycopg.rows import args_row

from app.core.admin_events import ProjectionChecked
from app.core.envelope import Recorded
from app.core.streams import ADMIN
from app.log.errors import LogError
from app.log.keep_up import keep_up
from app.log.log import Log
from app.log.read import PAGE_EVENTS_MAX, newest_first
from app.log.sql import statement
from projections.checking import Checked, Difference
from projections.pages import connect
from projections.projection import AnyProjection, event_types

(_TYPE,) = event_types(ProjectionChecked)

logger = structlog.get_logger(__name__)


class Verdict(msgspec.Struct, frozen=True):
    """What the newest check of a view on record has found. `problem`: why the two could not be compared."""

    name: str
    checked_at: datetime
    position: int
    rows: int
    differences: int
    problem: str = ""

    @property
    def fine(self) -> bool:
        return not self.differences and not self.problem


def named(one: Difference) -> str:
    """The row by its key, and what is wrong with it, in one line."""
    key = ", ".join(f"{column}={value}" for column, value in one.key.items())
    table = f"{one.table}: " if one.table else ""
    return f"{table}{key}: {one.kind}" + (f" in {', '.join(one.columns)}" if one.columns else "")


def as_event(checked: Checked) -> ProjectionChecked:
    """The result as it is put on record."""
    return ProjectionChecked(
        checked.name,
        checked.version,
        checked.position,
        checked.rows,
        checked.differences,
        tuple(named(one) for one in checked.shown),
        checked.problem,
    )


class _Newest:
    """Takes the stream's events newest first. Of a view only checks of this version count: others saw another table."""

    def __init__(self, projections: Sequence[AnyProjection]) -> None:
        self._versions = {projection.name: projection.version for projection in projections}
        self.found: dict[str, Verdict] = {}

    @property
    def complete(self) -> bool:
        return len(self.found) == len(self._versions)

    def take(self, recorded: Recorded) -> None:
        if recorded.type != _TYPE:
            return
        try:
            event = recorded.event()
        except (msgspec.DecodeError, UnicodeError):
            return
        if not isinstance(event, ProjectionChecked) or self._versions.get(event.name) != event.version:
            return
        verdict = Verdict(
            event.name, recorded.recorded_at, event.position, event.rows, event.differences, event.problem
        )
        self.found.setdefault(event.name, verdict)


def read_verdicts(dsn: str, projections: Sequence[AnyProjection]) -> dict[str, Verdict]:
    """Of the views that were ever checked. Reads back to the oldest of these verdicts. Raises `psycopg.Error`."""
    newest, before = _Newest(projections), 2**62
    with connect(dsn) as connection:
        while not newest.complete and (page := _page(connection, before)):
            for recorded in page:
                newest.take(recorded)
            before = page[-1].offset
    return newest.found


def _page(connection: Connection[Any], before: int) -> list[Recorded]:
    with RawCursor(connection, row_factory=args_row(Recorded)) as cursor:
        query = statement("read_stream_backwards").encode()
        return cursor.execute(query, (ADMIN, before, PAGE_EVENTS_MAX), binary=True).fetchall()


class Verdicts:
    """Those of one process: `found` by the view's name, as new as the last `caught_up`; followed from `open` on."""

    def __init__(
        self,
        log: Log,
        projections: Sequence[AnyProjection],
        changed: Callable[[dict[str, Verdict]], None] = lambda found: None,
    ) -> None:
        """`changed` is told after every change, from the event loop."""
        self._log = log
        self._projections = tuple(projections)
        self._changed = changed
        self._offset = 0
        self._reading = asyncio.Lock()
        self._following: asyncio.Task[None] | None = None
        self.found: dict[str, Verdict] = {}

    async def open(self) -> None:
        """Reads in the background: nobody waits for what was found long ago."""
        self._following = asyncio.create_task(self._follow(), name="verdicts")

    async def close(self) -> None:
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)

    async def caught_up(self) -> dict[str, Verdict]:
        """With everything that is on record now, on whatever node. Raises `LogUnavailable`."""
        async with self._reading:
            head = await self._log.reader.head(ADMIN)
            if head != self._offset:
                # Further back than what was seen: the database was restored to an earlier time.
                seen, known = (self._offset, self.found) if head > self._offset else (0, {})
                newest = _Newest(self._projections)
                async for recorded in newest_first(self._log.reader, ADMIN):
                    if recorded.offset <= seen or newest.complete:
                        break
                    head = max(head, recorded.offset)
                    newest.take(recorded)
                self.found, self._offset = {**known, **newest.found}, head
                self._changed(self.found)
        return self.found

    async def _follow(self) -> None:
        def failed(error: LogError) -> None:
            logger.warning("verdicts_not_read", error=str(error))

        await keep_up(self._log.wakeups, ADMIN, self.caught_up, failed)
