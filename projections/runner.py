"""Runs projections: reads the log behind each one's checkpoint, folds, writes rows and checkpoint in one transaction.

    wake, or 1 s ──► read a page ──► of each projection there: move the checkpoint ─► load ─► fold ─► write ─► commit
         ▲                                  │ it has moved already: another node has done it, go on from there
         └── connection lost: back off ◄────┘ poison event: this projection stops in front of it, the others go on

It works in a thread of its own, so that folding never blocks the event loop. Any number of nodes may run it at once.
"""

import threading
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import psycopg
import structlog
from psycopg import errors

from projections import ALL
from projections.checkpoints import Checkpoints, ProjectionStatus
from projections.pages import PAGE_EVENTS_MAX, connect, decode_page, read_page
from projections.projection import (
    AnyProjection,
    Key,
    Page,
    Poison,
    describe,
    fold,
    halve,
    poison_of,
    touched_by,
)
from projections.tables import Table
from projections.waiting import ProjectionLag, Waiters

__all__ = ["ProjectionLag", "ProjectionRunner", "ProjectionStatus"]

IDLE_SECONDS = 1.0
CLOSE_TIMEOUT_SECONDS = 15.0
_BACKOFF_SECONDS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)

# What the database says of a row that it cannot store, as against a database that is away.
_UNSTORABLE = (
    psycopg.DataError,
    psycopg.IntegrityError,
    errors.ProgramLimitExceeded,
    errors.StatementTooComplex,
    errors.UntranslatableCharacter,
)

logger = structlog.get_logger(__name__)
Connection = psycopg.Connection[tuple[Any, ...]]


class ProjectionRunner:
    """All projections of one process. `start` and `close` once each; or `run_to_end` without them."""

    def __init__(
        self,
        dsn: str,
        projections: Sequence[AnyProjection] = ALL,
        *,
        page_events: int = PAGE_EVENTS_MAX,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self._dsn = dsn
        self._projections = {projection.name: projection for projection in projections}
        self._tables = {projection.name: Table(projection) for projection in projections}
        self._page_events = page_events
        self._idle_seconds = idle_seconds
        self._checkpoints = Checkpoints(projections)
        self._waiters = Waiters(self._checkpoints)
        self._wanted = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._recent: dict[tuple[str, int], tuple[int, dict[Key, Any]]] = {}

    def start(self) -> None:
        """Makes the tables, then folds in a thread of its own until `close`. Raises `psycopg.Error`."""
        with connect(self._dsn) as connection:
            self._checkpoints.prepare(connection)
        self._thread = threading.Thread(target=self._run, name="projections", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stops after the page at hand; waits at most 15 s for it. Those who wait get `ProjectionLag`."""
        self._closing.set()
        self._wanted.set()
        if self._thread is not None:
            self._thread.join(CLOSE_TIMEOUT_SECONDS)
        self._waiters.fail_all("the service is stopping")

    def wake(self) -> None:
        """There may be something new in the log. Callable from any thread; returns at once."""
        self._wanted.set()

    async def wait_for(self, position: int, timeout_seconds: float, *names: str, partition: int = 0) -> None:
        """Returns when these projections (none named: all) have folded the log up to this position.

        Raises `ProjectionLag` after the time-out, or at once where one of them is stopped before that position.
        """
        self.wake()
        await self._waiters.wait(position, timeout_seconds, names or tuple(self._projections), partition)

    def run_to_end(self) -> list[ProjectionStatus]:
        """Folds everything that is in the log, in the calling thread. Raises `psycopg.Error`."""
        with connect(self._dsn) as connection:
            self._checkpoints.prepare(connection)
            while self._advance(connection):
                pass
        return self.status()

    def rebuild(self, name: str) -> ProjectionStatus:
        """Drops a projection's rows and folds them anew, in the calling thread. Raises `KeyError`, `psycopg.Error`.

        Readers see the view grow meanwhile.
        """
        alone = ProjectionRunner(self._dsn, [self._projections[name]], page_events=self._page_events)
        with connect(self._dsn) as connection:
            alone._checkpoints.prepare(connection)
            alone._checkpoints.reset(connection, name)
        return alone.run_to_end()[0]

    def status(self) -> list[ProjectionStatus]:
        """How far each projection is, and where one is stopped, why. As this process knows it: no query."""
        return self._checkpoints.status()

    def _run(self) -> None:
        attempt = 0
        while not self._closing.is_set():
            try:
                with connect(self._dsn) as connection:
                    self._checkpoints.prepare(connection)
                    self._waiters.settle()
                    attempt = 0
                    self._follow(connection)
            except psycopg.Error as error:
                logger.warning(
                    "projections_interrupted", attempt=attempt, error=f"{type(error).__name__}: {error}"
                )
            except Exception:
                logger.exception("projections_failed", attempt=attempt)
                attempt = len(_BACKOFF_SECONDS)
            self._closing.wait(_BACKOFF_SECONDS[min(attempt, len(_BACKOFF_SECONDS) - 1)])
            attempt += 1

    def _follow(self, connection: Connection) -> None:
        while not self._closing.is_set():
            self._wanted.clear()  # before reading: a wake-up during it must not be forgotten
            if not self._advance(connection):
                self._wanted.wait(self._idle_seconds)

    def _advance(self, connection: Connection) -> bool:
        """One page for every group of projections that stand at the same position. False: all have reached the end."""
        moved = False
        for partition in self._checkpoints.partitions:
            groups: dict[int, list[AnyProjection]] = defaultdict(list)
            for name in self._checkpoints.running():
                groups[self._checkpoints.position(name, partition)].append(self._projections[name])
            for position, group in groups.items():
                moved |= self._advance_group(connection, partition, position, group)
        return moved

    def _advance_group(
        self, connection: Connection, partition: int, position: int, group: list[AnyProjection]
    ) -> bool:
        recorded = read_page(connection, partition, position, self._page_events)
        if not recorded:
            return False
        self._checkpoints.saw(partition, recorded[-1].position)
        page = decode_page(recorded, frozenset[str]().union(*(projection.handles for projection in group)))
        for projection in group:
            if self._closing.is_set():
                return False
            self._fold_page(connection, projection, partition, page)
            self._waiters.settle()
        return True

    def _fold_page(
        self, connection: Connection, projection: AnyProjection, partition: int, page: Page
    ) -> None:
        """Fold a page; where the database refuses a row, halve the page until its event is found."""
        try:
            poison = self._fold_in_transaction(connection, projection, partition, page)
        except _UNSTORABLE as error:
            halves = halve(page)
            if halves is not None:
                for half in halves:
                    if projection.name in self._checkpoints.running():
                        self._fold_page(connection, projection, partition, half)
                return
            poison = poison_of(page.entries[0][0], describe(error))
        if poison is not None:
            self._checkpoints.stop(projection.name, poison)
            logger.error(
                "projection_stopped",
                projection=projection.name,
                position=poison.position,
                type=poison.type,
                reason=poison.reason,
            )

    def _fold_in_transaction(
        self, connection: Connection, projection: AnyProjection, partition: int, page: Page
    ) -> Poison | None:
        touched = touched_by(projection, page.entries)
        table, reached = self._tables[projection.name], page.end
        with connection.transaction():
            if not self._checkpoints.move(connection, projection.name, partition, page):
                return None
            stored = self._known(projection.name, partition, page.start)
            unknown = [key for key in touched.needed if key not in stored]
            stored = stored | table.load(connection, unknown) if unknown else stored
            folded = fold(projection, stored, page.entries, touched)
            if folded.poison is not None:
                reached = folded.poison.position - 1
                self._checkpoints.move_back(connection, projection.name, partition, reached)
            table.write(connection, folded)
        self._checkpoints.reached(projection.name, partition, reached)
        self._recent[projection.name, partition] = (reached, folded.rows)
        return folded.poison

    def _known(self, name: str, partition: int, position: int) -> dict[Key, Any]:
        """The rows of the page before, where this process folded it: at the same position they are the same."""
        known_at, rows = self._recent.get((name, partition), (-1, {}))
        return rows if known_at == position else {}
