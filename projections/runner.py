"""Runs projections: reads the log behind each one's checkpoint, folds, writes rows and checkpoint in one transaction.

    wake, or 1 s ──► read a page ──► fold it for each projection there ──► move its checkpoint and write its rows
         ▲                  │                                                 │ moved already: another node did it
         └── lost: back off ┘      poison event: this projection stops in front of it, the others go on

It works in a thread of its own, so that folding never blocks the event loop. Any number of nodes may run it at once.
"""

import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress

import psycopg
import structlog

from projections import ALL
from projections.checkpoints import Checkpoints, ProjectionStatus
from projections.ownership import TRAILING_SECONDS, Ownership
from projections.pages import PAGE_EVENTS_MAX, connect
from projections.projection import AnyProjection
from projections.session import Session
from projections.waiting import ProjectionLag, Waiters

__all__ = ["ProjectionLag", "ProjectionRunner", "ProjectionStatus"]

IDLE_SECONDS = 1.0
CLOSE_TIMEOUT_SECONDS = 15.0
_BACKOFF_SECONDS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)

logger = structlog.get_logger(__name__)


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
        self._page_events = page_events
        self._idle_seconds = idle_seconds
        self._checkpoints = Checkpoints(projections)
        self._waiters = Waiters(self._checkpoints)
        self._wanted = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

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
        with self._session() as session:
            while session.advance():
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
            self._wanted.clear()  # before reading: a wake-up during it must not be forgotten
            if not session.advance():
                self._wanted.wait(TRAILING_SECONDS if session.trailing else self._idle_seconds)

    @contextmanager
    def _session(self, *, alone: bool = False) -> Generator[Session]:
        """With `alone` only what no other node is folding."""
        with connect(self._dsn) as reading, connect(self._dsn) as writing:
            self._checkpoints.prepare(reading)
            ownership = Ownership(reading, self._checkpoints) if alone else None
            session = Session(
                reading,
                writing,
                tuple(self._projections.values()),
                self._checkpoints,
                page_events=self._page_events,
                moved=self._waiters.settle,
                ownership=ownership,
            )
            try:
                yield session
            finally:
                session.close()
                if ownership is not None:
                    with suppress(psycopg.Error):
                        ownership.release()
