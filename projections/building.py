"""Projections built beside the live ones, and swapped in when they have caught up.

    build:  a schema beside, with tables of the same names and checkpoints of its own ──► folded to the log's end
    swap:   lock the live checkpoints ─► fold up to them ─► the old tables go into a schema for the retired, the new
            ones take their place, and the checkpoints say their version and position: one transaction

Inside that schema everything is as in the live one, so what folds live folds here. Readers see the old tables until the
commit and the new ones from then on. What is retired is dropped an hour later, at the next build.
"""

import re
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, LiteralString

import msgspec
import psycopg
import structlog
from psycopg import sql
from psycopg.conninfo import make_conninfo

from projections.pages import connect

BUILDING, CHECKING, RETIRED = "minutebook_building", "minutebook_checking", "minutebook_retired"
RETIRED_SECONDS = 3_600
SWAP_ATTEMPTS = 30
_RETIRED_AT = re.compile(rf"{RETIRED}_(\d+)")
_TRY_LOCK = b"SELECT pg_try_advisory_lock(hashtextextended($1, 0))"
_LOCK = b"SELECT pg_advisory_lock(hashtextextended($1, 0))"
_CHECKPOINTS: LiteralString = (
    "CREATE TABLE {}.projection_checkpoints (LIKE projection_checkpoints INCLUDING ALL)"
)
_HOLDERS = b"""
SELECT DISTINCT ON (a.pid) a.pid, a.application_name, extract(epoch FROM clock_timestamp() - a.xact_start)::int
FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.granted AND a.pid <> pg_backend_pid() AND a.datname = current_database() AND l.database = a.datid AND (
    l.relation IN (SELECT to_regclass('public.' || name) FROM unnest($1::text[]) name)
    OR l.relation = 'projection_checkpoints'::regclass AND l.mode <> 'AccessShareLock')
"""
_SWAP_LIMITS = b"SET LOCAL lock_timeout = '2s'; SET LOCAL idle_in_transaction_session_timeout = '60s'"
_TAKE_OVER: LiteralString = """
INSERT INTO public.projection_checkpoints (name, partition, version, position, problem)
SELECT name, partition, version, position, problem FROM {}.projection_checkpoints WHERE name = ANY({})
ON CONFLICT (name, partition) DO UPDATE
SET version = excluded.version, position = excluded.position, lease_until = NULL, problem = excluded.problem,
    updated_at = now()
"""

logger = structlog.get_logger(__name__)
Connection = psycopg.Connection[tuple[Any, ...]]


class BuildSuperseded(Exception):
    """A newer release has put its own version there meanwhile; nothing to do for this one."""

    def __init__(self, name: str, version: int, found: int) -> None:
        super().__init__(f"{name}: version {version} was built, but the table has version {found} by now")


class SwapBlocked(psycopg.OperationalError):
    """What was built could not take its place: for a minute somebody has been reading the old tables, or writing."""

    def __init__(self, names: Sequence[str], holders: Sequence[str]) -> None:
        super().__init__(
            f"{', '.join(names)}: built, but not put in place of what is live, which is locked by "
            f"{', '.join(holders) or 'somebody who has just let go'}; wait for the end of that, or end it with SELECT "
            "pg_terminate_backend(…), and start again"
        )


class Beside(msgspec.Struct, frozen=True):
    """A schema beside the live one. Connections to `dsn` find its tables and checkpoints, and the log where it always
    is."""

    schema: str
    dsn: str


class Built(msgspec.Struct, frozen=True):
    """A projection that is ready to be swapped in."""

    name: str
    version: int
    tables: tuple[str, ...]


@contextmanager
def beside(dsn: str, schema: str = BUILDING) -> Generator[Beside]:
    """An empty schema of this name, dropped afterwards. Whoever else builds waits for its turn."""
    with connect(dsn) as connection:
        connection.execute("SET lock_timeout = 0; SET statement_timeout = 0")
        if connection.execute(_TRY_LOCK, (schema,)).fetchone() != (True,):
            logger.info("projection_build_waits", reason="another process is building")
            connection.execute(_LOCK, (schema,))
        _drop(connection, schema)
        with connection.transaction():
            _run(connection, "CREATE SCHEMA {}", schema)
            _run(connection, _CHECKPOINTS, schema)
        try:
            yield Beside(schema, make_conninfo(dsn, options=f"-c search_path={schema},public"))
        finally:
            with suppress(psycopg.OperationalError):  # without its connection: the next build drops it
                _drop(connection, schema)


def swap(dsn: str, built: Sequence[Built], place: Beside, advance: Callable[[], object]) -> None:
    """Put what was built in the place of what is live. `advance` folds it to the end of the log once more.

    Tried again for a minute while somebody reads an old table for long. Raises `BuildSuperseded`, `SwapBlocked`,
    `psycopg.Error`, and what `advance` raises; then nothing has changed.
    """
    holders: list[str] = []
    for attempt in range(SWAP_ATTEMPTS):
        try:
            _swap(dsn, built, place, advance)
            return
        except psycopg.errors.LockNotAvailable:
            holders = _holders(dsn, [table for one in built for table in one.tables])
            logger.info("projection_swap_waits", attempt=attempt, holders=holders)
    raise SwapBlocked([one.name for one in built], holders)


def _holders(dsn: str, tables: Sequence[str]) -> list[str]:
    """Who keeps these tables, or the checkpoints, from being swapped, and for how many seconds (of another role's
    backends the server does not say it)."""
    with connect(dsn) as connection:
        found = connection.execute(_HOLDERS, (list(tables),)).fetchall()
    return [
        f"backend {pid} ({name or 'without a name'}{'' if seconds is None else f', for {seconds} s'})"
        for pid, name, seconds in found
    ]


def _swap(dsn: str, built: Sequence[Built], place: Beside, advance: Callable[[], object]) -> None:
    names = sorted(one.name for one in built)
    with connect(dsn) as connection, connection.transaction():
        connection.execute(_SWAP_LIMITS)
        # As every fold: first the checkpoints, then the tables. Nobody folds the live ones from here on.
        live = connection.execute(
            "SELECT name, version FROM projection_checkpoints WHERE name = ANY($1) "
            "ORDER BY name, partition FOR UPDATE",
            (names,),
        ).fetchall()
        for one in built:
            newest = max((version for name, version in live if name == one.name), default=0)
            if newest > one.version:
                raise BuildSuperseded(one.name, one.version, newest)
        advance()
        retired = _schema_for_retired(connection)
        for name in (table for one in built for table in one.tables):
            _run(connection, "ALTER TABLE IF EXISTS public.{} SET SCHEMA {}", name, retired)
            _run(connection, "ALTER TABLE {}.{} SET SCHEMA public", place.schema, name)
        taken_over = sql.SQL(_TAKE_OVER).format(sql.Identifier(place.schema), sql.Literal(names))
        connection.execute(taken_over.as_bytes(connection))
    logger.info("projections_swapped", names=names, retired=retired)


def _schema_for_retired(connection: Connection) -> str:
    """Named after the time, in microseconds since 1970."""
    row = connection.execute("SELECT (extract(epoch FROM clock_timestamp()) * 1e6)::bigint").fetchone()
    schema = f"{RETIRED}_{row[0] if row else 0}"
    _run(connection, "CREATE SCHEMA {}", schema)
    return schema


def drop_retired(dsn: str, *, older_than_seconds: float = RETIRED_SECONDS) -> list[str]:
    """Drop the tables that were replaced longer ago than that; the schemas that are gone."""
    dropped: list[str] = []
    with connect(dsn) as connection:
        rows = connection.execute(
            "SELECT nspname, extract(epoch FROM now())::float8 FROM pg_namespace WHERE starts_with(nspname, $1)",
            (RETIRED,),
        ).fetchall()
        for schema, now in rows:
            found = _RETIRED_AT.fullmatch(schema)
            if found is not None and now - int(found[1]) / 1e6 >= older_than_seconds:
                _drop(connection, schema)
                dropped.append(schema)
    return dropped


def _drop(connection: Connection, schema: str) -> None:
    _run(connection, "DROP SCHEMA IF EXISTS {} CASCADE", schema)


def _run(connection: Connection, statement: LiteralString, *names: str) -> None:
    """A statement with names in it."""
    connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)).as_bytes(connection))
