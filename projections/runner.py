"""Runs projections: reads the log behind each one's checkpoint, folds, writes rows and checkpoint in one transaction.

    wake, or 1 s ──► read a page ──► fold it for each projection there ──► move its checkpoint and write its rows
         ▲                  │                                                 │ moved already: another node did it
         └── lost: back off ┘      poison event: this projection stops in front of it, the others go on

It works in a thread of its own, so that folding never blocks the event loop. Any number of nodes may run it at once.
"""

import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
import structlog

from projections import ALL
from projections.building import Beside, BuildSuperseded, Built, beside, drop_retired, swap
from projections.checkpoints import Checkpoints, ProjectionStatus
from projections.ownership import TRAILING_SECONDS, Ownership
from projections.pages import PAGE_EVENTS_MAX, connect
from projections.projection import AnyProjection, Poison
from projections.session import Session
from projections.waiting import ProjectionLag, Waiters

__all__ = ["BuildFailed", "BuildSuperseded", "ProjectionLag", "ProjectionRunner", "ProjectionStatus"]

IDLE_SECONDS = 1.0
GATHER_SECONDS = 0.02
"""So long what is new is left to gather where nobody waits for it: a page for many appends costs as much as for one."""
CLOSE_TIMEOUT_SECONDS = 15.0
_BACKOFF_SECONDS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)

Progress = Callable[[list[ProjectionStatus]], None]
"""Told how far a fold has come, page by page."""
Connection = psycopg.Connection[tuple[Any, ...]]

logger = structlog.get_logger(__name__)


class BuildFailed(Exception):
    """A new version came to an event that it cannot fold; the old table stays. Repair it, then build again."""

    def __init__(self, name: str, poison: Poison) -> None:
        super().__init__(
            f"{name} cannot be built: position {poison.position} ({poison.type}): {poison.reason}"
        )
        self.poison = poison


def _built(projection: AnyProjection) -> Built:
    return Built(projection.name, projection.version, tuple(name for name, _ in projection.tables))


def nothing(statuses: list[ProjectionStatus]) -> None:
    """No progress is shown."""


class ProjectionRunner:
    """All projections of one process. `start` and `close` once each; or `run_to_end` without them."""

    def __init__(
        self,
        dsn: str,
        projections: Sequence[AnyProjection] = ALL,
        *,
        page_events: int = PAGE_EVENTS_MAX,
        idle_seconds: float = IDLE_SECONDS,
        in_place: bool = False,
    ) -> None:
        """`in_place`: tables that are missing are made and folded where they are to be, for all to see."""
        self._in_place = in_place
        self._dsn = dsn
        self._projections = {projection.name: projection for projection in projections}
        self._page_events = page_events
        self._idle_seconds = idle_seconds
        self._checkpoints = Checkpoints(projections)
        self._waiters = Waiters(self._checkpoints)
        self._wanted = threading.Event()
        self._hurried = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._prepared: Connection | None = None

    def start(self, progress: Progress = nothing) -> None:
        """Makes the tables, then folds in a thread of its own until `close`. Raises `psycopg.Error`.

        Returns when every table is of this release: what has changed is first built beside the old one.
        """
        connection = connect(self._dsn)
        try:
            self._prepare(connection, progress)
        except BaseException:
            connection.close()
            raise
        self._prepared = connection
        self._thread = threading.Thread(target=self._run, name="projections", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stops after the page at hand; waits at most 15 s for it. Those who wait get `ProjectionLag`."""
        self._closing.set()
        self._hurry()
        if self._thread is not None:
            self._thread.join(CLOSE_TIMEOUT_SECONDS)
        if self._prepared is not None:
            self._prepared.close()
        self._waiters.fail_all("the service is stopping")

    def wake(self) -> None:
        """There may be something new in the log. Callable from any thread; returns at once."""
        self._wanted.set()

    def _hurry(self) -> None:
        """Somebody waits for it."""
        self._hurried.set()
        self._wanted.set()

    async def wait_for(self, position: int, timeout_seconds: float, *names: str, partition: int = 0) -> None:
        """Returns when these projections (none named: all) have folded the log up to this position.

        Raises `ProjectionLag` after the time-out, or at once where one of them is stopped before that position.
        """
        self._hurry()
        await self._waiters.wait(position, timeout_seconds, names or tuple(self._projections), partition)

    def run_to_end(
        self, progress: Progress = nothing, *, until: Mapping[int, int] | None = None
    ) -> list[ProjectionStatus]:
        """Folds everything that is in the log, in the calling thread; `until`: up to these positions of the partitions.

        Raises `psycopg.Error`.
        """
        with self._session(until=until) as session:
            while session.advance():
                progress(self.status())
        return self.status()

    def rebuild(self, name: str, progress: Progress = nothing) -> ProjectionStatus:
        """Folds a projection anew beside the live one and puts it in its place, in the calling thread.

        Readers see the old rows until then, and everything goes on meanwhile, here and on other nodes. Raises
        `KeyError`, `BuildFailed`, `BuildSuperseded`, `psycopg.Error`; then everything is as before.
        """
        projection = self._projections[name]
        with beside(self._dsn) as place:
            builder = ProjectionRunner(place.dsn, [projection], page_events=self._page_events, in_place=True)

            def advance() -> None:
                (status,) = builder.run_to_end(progress)
                if status.stopped is not None:
                    raise BuildFailed(name, status.stopped)

            advance()
            swap(self._dsn, [_built(projection)], place, advance)
        drop_retired(self._dsn)
        (status,) = ProjectionRunner(self._dsn, [projection]).run_to_end()
        return status

    def _prepare(self, connection: Connection, progress: Progress) -> None:
        """Bring the tables to this release."""
        if not self._checkpoints.prepare(connection, in_place=self._in_place):
            return
        with beside(self._dsn) as place:
            # Another process may have built them while this one waited for its turn.
            if outdated := self._checkpoints.prepare(connection):
                self._build([self._projections[name] for name in outdated], place, progress)
        drop_retired(self._dsn)
        self._checkpoints.prepare(connection)

    def _build(self, outdated: Sequence[AnyProjection], place: Beside, progress: Progress) -> None:
        """One that cannot be built is stopped; its old table, where there is one, stays as it is."""
        builder = ProjectionRunner(place.dsn, outdated, page_events=self._page_events, in_place=True)
        logger.warning("projections_building", names=[projection.name for projection in outdated])
        built = [
            _built(self._projections[status.name])
            for status in builder.run_to_end(progress)
            if status.stopped is None or not self._checkpoints.has_table(status.name)
        ]
        for status in builder.status():
            if status.stopped is not None:
                failed = BuildFailed(status.name, status.stopped)
                self._checkpoints.stop(status.name, Poison(0, "", str(failed)))
        try:
            if built:
                swap(self._dsn, built, place, builder.run_to_end)
        except BuildSuperseded as superseded:
            logger.warning("projections_not_swapped", reason=str(superseded))

    def status(self) -> list[ProjectionStatus]:
        """How far each projection is, and where one is stopped, why. As this process knows it: no query."""
        return self._checkpoints.status()

    def _run(self) -> None:
        attempt = 0
        while not self._closing.is_set():
            try:
                with self._session(alone=True) as session:
                    self._waiters.settle()
                    attempt = 0
                    self._follow(session)
            except psycopg.Error as error:
                logger.warning(
                    "projections_interrupted", attempt=attempt, error=f"{type(error).__name__}: {error}"
                )
            except Exception:
                logger.exception("projections_failed", attempt=attempt)
                attempt = len(_BACKOFF_SECONDS)
            self._closing.wait(_BACKOFF_SECONDS[min(attempt, len(_BACKOFF_SECONDS) - 1)])
            attempt += 1

    def _follow(self, session: Session) -> None:
        while not self._closing.is_set():
            self._hurried.clear()  # before reading: a wake-up during it must not be forgotten
            self._wanted.clear()
            if session.advance():
                continue
            if session.trailing:
                self._wanted.wait(TRAILING_SECONDS)
            elif self._wanted.wait(self._idle_seconds):
                self._hurried.wait(GATHER_SECONDS)

    @contextmanager
    def _session(self, *, alone: bool = False, until: Mapping[int, int] | None = None) -> Generator[Session]:
        """With `alone` only what no other node is folding."""
        prepared, self._prepared = self._prepared, None  # by `start`, a moment ago
        with prepared or connect(self._dsn) as reading, connect(self._dsn) as writing:
            if prepared is None:
                self._prepare(reading, nothing)
            ownership = Ownership(reading, self._checkpoints) if alone else None
            session = Session(
                reading,
                writing,
                tuple(self._projections.values()),
                self._checkpoints,
                page_events=self._page_events,
                moved=self._waiters.settle,
                ownership=ownership,
                until=until,
            )
            try:
                yield session
            finally:
                session.close()
                if ownership is not None:
                    with suppress(psycopg.Error):
                        ownership.release()
