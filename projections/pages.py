"""Pages of the log for projections: read on a psycopg connection, decoded once for all that stand at one position."""

import re
from collections.abc import Collection, Sequence
from typing import Any

import msgspec
import psycopg
from psycopg import RawCursor
from psycopg.rows import args_row, tuple_row
from psycopg.types.string import TextBinaryLoader, TextLoader

from app.core import events
from app.core.envelope import Recorded
from app.core.events import UnknownEvent
from app.log.errors import HoleInLog
from app.log.sql import statement
from projections.projection import Damaged, Page, describe

PAGE_EVENTS_MAX = 1_000
CONNECT_TIMEOUT_SECONDS = 5
TCP_TIMEOUT_SECONDS = 20
STATEMENT_TIMEOUT_SECONDS = 120
LOCK_TIMEOUT_SECONDS = 10
IDLE_TRANSACTION_TIMEOUT_SECONDS = 4
"""A process that is frozen in a fold must not hold up those that take over its runs: they find them in the views."""

_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")

# What is lost with the last transactions when the server crashes is folded again: rows and checkpoint go together.
_SESSION = f"""
SET synchronous_commit = off;
SET statement_timeout = '{STATEMENT_TIMEOUT_SECONDS}s';
SET lock_timeout = '{LOCK_TIMEOUT_SECONDS}s';
SET idle_in_transaction_session_timeout = '{IDLE_TRANSACTION_TIMEOUT_SECONDS}s';
SET jit = off;
""".encode()


def connect(dsn: str) -> psycopg.Connection[tuple[Any, ...]]:
    """A connection as the folds use it; parameters are `$1`, JSON comes as text. Raises `psycopg.OperationalError`."""
    connection = psycopg.connect(
        dsn,
        autocommit=True,
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
        application_name="minutebook-projections",
        keepalives_idle=10,
        tcp_user_timeout=TCP_TIMEOUT_SECONDS * 1000,
        cursor_factory=RawCursor[tuple[Any, ...]],
        row_factory=tuple_row,
    )
    connection.execute(_SESSION)
    connection.adapters.register_loader("json", TextLoader)
    connection.adapters.register_loader("json", TextBinaryLoader)
    return connection


def read_page(
    connection: psycopg.Connection[Any], partition: int, after: int, limit: int = PAGE_EVENTS_MAX
) -> list[Recorded]:
    """The next events of a partition in commit order. Raises `HoleInLog` if they do not follow `after`."""
    with RawCursor(connection, row_factory=args_row(Recorded)) as cursor:
        cursor.execute(statement("read_all").encode(), (partition, after, limit), binary=True)
        page = cursor.fetchall()
    if page and (page[0].position != after + 1 or page[-1].position != after + len(page)):
        raise HoleInLog(f"(partition {partition})", after, page[0].position)
    return page


def decode_page(page: Sequence[Recorded], handled: frozenset[str]) -> Page:
    """The events of the handled types. A damaged one is a value: it stops only those that handle its type."""
    entries = [(recorded, event) for recorded in page if (event := _decode(recorded, handled)) is not None]
    types = handled & {recorded.type for recorded in page}
    return Page(page[0].position - 1, page[-1].position, entries, types)


def _decode(recorded: Recorded, handled: Collection[str]) -> events.Event | Damaged | None:
    if recorded.type not in handled:
        return None
    payload = recorded.payload
    if "\\u0000" in payload:
        payload = without_nul(payload)
    try:
        event = events.decode(recorded.type, payload)
    except (msgspec.DecodeError, UnicodeError) as error:
        return Damaged(describe(error))
    return None if isinstance(event, UnknownEvent) else event


def without_nul(payload: str) -> str:
    """JSON text may hold the character U+0000, a text column may not: views show U+FFFD in its place."""
    return _NUL.sub(r"\1\\ufffd", payload)
