"""A check that gives way: in a thread of its own, mostly at rest, and over at once when it is told to stop.

fold a page ──► rest three times as long ──► fold a page … ──► compare, in the database
                      │ stopped                                    │ stopped: its statement is cancelled
                      └────────────────► CheckStopped ◄────────────┘
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from time import monotonic
from typing import TypeVar

import psycopg

from projections.building import CHECKING
from projections.checking import Checked, check
from projections.checkpoints import ProjectionStatus
from projections.pages import connect
from projections.projection import AnyProjection

REST_TIMES = 3.0
"""How much longer it rests than it works: what it takes of the interpreter and the database is a quarter of a core."""
REST_SECONDS_MAX = 5.0
GRACE_SECONDS = 0.1
STOP_SECONDS_MAX = 2.0

T = TypeVar("T")
_BUILT = b"SELECT FROM projection_checkpoints WHERE name = $1 AND version = $2 LIMIT 1"
_TRY_LOCK = b"SELECT pg_try_advisory_lock(hashtextextended($1, 0))"
_UNLOCK = b"SELECT pg_advisory_unlock(hashtextextended($1, 0))"
# Who is making or dropping the tables is let be: that is soon over.
_CANCEL = b"""
SELECT pg_cancel_backend(l.pid)
FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_database d ON d.oid = l.database
WHERE n.nspname = $1 AND d.datname = current_database() AND l.pid <> pg_backend_pid()
GROUP BY l.pid HAVING NOT bool_or(l.mode = 'AccessExclusiveLock')
"""


class CheckStopped(Exception):
    """The check was told to stop; there is no result."""


class NotNow(Exception):
    """The view cannot be checked now: another process is at it, or another release has put its own table there."""


class GentleCheck:
    """One check of one view. `run` once, in whatever thread; `stop` from another one."""

    def __init__(self, dsn: str, projection: AnyProjection, *, rest_times: float = REST_TIMES) -> None:
        self._dsn = dsn
        self._projection = projection
        self._schema = f"{CHECKING}_{projection.name}"
        self._rest_times = rest_times
        self._stopping = threading.Event()
        self._over = threading.Event()
        self._inside = False
        self._since = 0.0

    def run(self) -> Checked:
        """Raises `CheckStopped`, `NotNow`, `psycopg.Error`."""
        try:
            self._demand_built()
            self._demand_free()
            self._since = monotonic()
            found = check(self._dsn, self._projection, self._page_is_folded)
            if not found.fine:
                self._demand_built()  # else another release has put its own table there in the middle of it
            return found
        except psycopg.errors.QueryCanceled:
            if self._stopping.is_set():
                raise CheckStopped from None
            raise
        finally:
            self._over.set()

    def tell(self) -> None:
        """It is to stop. Returns at once."""
        self._stopping.set()

    def stop(self) -> None:
        """Returns when it is over, or after 2 s. Raises nothing: what is left behind the next check clears away."""
        self.tell()
        until = monotonic() + STOP_SECONDS_MAX
        with suppress(psycopg.Error):
            if self._over.wait(GRACE_SECONDS):
                return
            with connect(self._dsn) as connection:
                # Only where the schema is ours and not that of somebody for whom we wait.
                while monotonic() < until:
                    if self._inside:
                        connection.execute(_CANCEL, (self._schema,))
                    if self._over.wait(GRACE_SECONDS):
                        return

    def _demand_built(self) -> None:
        with connect(self._dsn) as connection:
            built = connection.execute(_BUILT, (self._projection.name, self._projection.version)).fetchone()
        if built is None:
            raise NotNow(f"there is no table of {self._projection.name} version {self._projection.version}")

    def _demand_free(self) -> None:
        """Whoever checks it already may take long; whoever is frozen, for ever."""
        with connect(self._dsn) as connection:
            if connection.execute(_TRY_LOCK, (self._schema,)).fetchone() != (True,):
                raise NotNow(f"another process is checking {self._projection.name}")
            connection.execute(_UNLOCK, (self._schema,))

    def _page_is_folded(self, found: list[ProjectionStatus]) -> None:
        self._inside = True
        rest_seconds = min((monotonic() - self._since) * self._rest_times, REST_SECONDS_MAX)
        if self._stopping.wait(rest_seconds):
            raise CheckStopped
        self._since = monotonic()


async def run_gently(check: GentleCheck) -> Checked:
    """Run it beside the event loop. Whoever is cancelled stops it, and goes on within some 2 s.

    Raises what `GentleCheck.run` raises.
    """
    try:
        return await in_thread("view-check", check.run)
    except asyncio.CancelledError:
        check.tell()
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS_MAX + GRACE_SECONDS):
                await in_thread("view-check-stop", check.stop)
        raise


def in_thread(name: str, work: Callable[[], T]) -> asyncio.Future[T]:
    """As `asyncio.to_thread`, in a thread that does not hold up the end of the process."""
    future = Future[T]()

    def run() -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            result = work()
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(result)

    threading.Thread(target=run, name=name, daemon=True).start()
    return asyncio.wrap_future(future)
