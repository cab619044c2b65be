"""Rows of a projection in and out of its table, as JSON: a row's fields are its table's columns.

Measured with 300 rows of 11 columns a statement: one JSON document through `json_populate_recordset` 26 µs a row,
arrays through `unnest` 60 µs (psycopg encodes them in Python), COPY into a temporary table and upsert from there 43 µs.
"""

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import msgspec
from psycopg import Connection
from psycopg_pool import AsyncConnectionPool

from projections.derived import Derived, History, Tally
from projections.projection import AnyProjection, Fold, Key
from projections.reads import read_one

Row = TypeVar("Row", bound=msgspec.Struct)

_encoder = msgspec.json.Encoder()


class Table:
    """The statements of one projection. Use it with a connection whose cursors take `$1` (`psycopg.RawCursor`)."""

    def __init__(self, projection: AnyProjection) -> None:
        self._projection = projection
        self._rows = msgspec.json.Decoder(list[projection.row])
        name, key, columns = projection.name, projection.key, projection.columns
        given = f"json_populate_recordset(NULL::{name}, $1::json)"
        changed = ", ".join(f"{column} = excluded.{column}" for column in columns if column not in key)
        names = ", ".join(columns)
        # Names are ours, so nothing has to be quoted.
        self._all = f"SELECT json_agg(t)::text FROM {name} t".encode()  # noqa: S608
        # LIMIT keeps the planner, which knows nothing of the number of keys, from reading the whole table.
        found = f"SELECT * FROM {name} t WHERE {_same(key, 't', 'g')} LIMIT 1"  # noqa: S608
        self._load = (
            f"SELECT json_agg(t)::text, (SELECT position FROM projection_checkpoints "  # noqa: S608
            f"WHERE name = '{name}' AND partition = $2) FROM {given} g CROSS JOIN LATERAL ({found}) t"
        ).encode()
        self._upsert = (
            f"INSERT INTO {name} ({names}) SELECT {names} FROM {given} "  # noqa: S608
            f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET {changed}"
        ).encode()
        delete = f"DELETE FROM {name} t USING {given} g WHERE "  # noqa: S608
        self._delete = (delete + _same(key, "t", "g")).encode()
        self._forget = (delete + _same(projection.scope, "t", "g")).encode()
        self._tallies = [TallyTable(tally) for tally in projection.tallies]
        self._history = None if projection.history is None else HistoryTable(projection.history, key)

    def load(
        self, connection: Connection[Any], partition: int, keys: Iterable[Key]
    ) -> tuple[dict[Key, Any], int]:
        """The stored rows with these keys, and the position to which they belong, in one query."""
        wanted = [dict(zip(self._projection.key, key, strict=True)) for key in keys]
        rows, position = connection.execute(self._load, (_json(wanted), partition)).fetchall()[0]
        return self._decode(rows), int(position or 0)

    def load_all(self, connection: Connection[Any]) -> dict[Key, Any]:
        """Every stored row."""
        return self._decode(connection.execute(self._all).fetchall()[0][0])

    def write(self, connection: Connection[Any], fold: Fold) -> None:
        """Make the stored rows those of the fold."""
        if fold.forgotten:
            scopes = [dict(zip(self._projection.scope, values, strict=True)) for values in fold.forgotten]
            connection.execute(self._forget, (_json(scopes),))
        rows = [row for row in fold.rows.values() if row is not None]
        if rows:
            connection.execute(self._upsert, (_json(rows),))
        gone = [
            dict(zip(self._projection.key, key, strict=True)) for key, row in fold.rows.items() if row is None
        ]
        if gone:
            connection.execute(self._delete, (_json(gone),))
        for tally in self._tallies:
            tally.write(connection, fold.derived)
        if self._history is not None:
            self._history.write(connection, fold.derived)

    def _decode(self, rows: str | None) -> dict[Key, Any]:
        found = self._rows.decode(rows) if rows is not None else []
        return {self._projection.key_of_row(row): row for row in found}


class TallyTable:
    """The statements of a tally."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        name, key = tally.name, ", ".join(tally.key)
        names = ", ".join((*tally.key, *tally.sums))
        given = f"json_populate_recordset(NULL::{name}, $1::json)"
        added = ", ".join(f"{column} = {name}.{column} + excluded.{column}" for column in tally.sums)
        zero = " AND ".join(f"t.{column} = 0" for column in tally.sums)
        self._add = (
            f"INSERT INTO {name} ({names}) SELECT {names} FROM {given} ORDER BY {key} "  # noqa: S608
            f"ON CONFLICT ({key}) DO UPDATE SET {added}"
        ).encode()
        gone = f"{_same(tally.key, 't', 'g')} AND {zero}"
        self._tidy = f"DELETE FROM {name} t USING {given} g WHERE {gone}".encode()  # noqa: S608

    def write(self, connection: Connection[Any], derived: Derived) -> None:
        """Add what the page adds. A key that has nothing any more has no row."""
        found = derived.sums(self._tally)
        if not found:
            return
        columns = (*self._tally.key, *self._tally.sums)
        rows = _json([dict(zip(columns, (*key, *sums), strict=True)) for key, sums in found.items()])
        connection.execute(self._add, (rows,))
        if any(value < 0 for sums in found.values() for value in sums):
            connection.execute(self._tidy, (rows,))


class HistoryTable:
    """The statements of a history."""

    def __init__(self, history: History, key: Key) -> None:
        self._key = key
        given = f"json_populate_recordset(NULL::{history.name}, $1::json)"
        names = ", ".join((*key, "until", "row"))
        same = _same(key, "t", "g")
        self._erase = f"DELETE FROM {history.name} t USING {given} g WHERE {same}".encode()  # noqa: S608
        self._insert = (
            f"INSERT INTO {history.name} ({names}) SELECT {names} FROM {given} "  # noqa: S608
            f"ON CONFLICT ({', '.join((*key, 'until'))}) DO UPDATE SET row = excluded.row"
        ).encode()

    def write(self, connection: Connection[Any], derived: Derived) -> None:
        if derived.erased:
            gone = [dict(zip(self._key, key, strict=True)) for key in derived.erased]
            connection.execute(self._erase, (_json(gone),))
        rows = [
            {**dict(zip(self._key, key, strict=True)), "until": until, "row": row}
            for key, states in derived.past.items()
            for until, row in states.items()
        ]
        if rows:
            connection.execute(self._insert, (_json(rows),))


async def fetch_rows(
    pool: AsyncConnectionPool, row: type[Row], query: str, arguments: Sequence[object] = ()
) -> list[Row]:
    """The rows of a read query with `%s` placeholders, as values of that type. Raises `ViewsUnavailable`."""
    rows = f"SELECT coalesce(json_agg(r), '[]')::text FROM ({query}) r".encode()  # noqa: S608
    found = await read_one(pool, rows, arguments)
    return msgspec.json.decode(found[0], type=list[row]) if found else []


def _same(columns: Iterable[str], left: str, right: str) -> str:
    return " AND ".join(f"{left}.{column} = {right}.{column}" for column in columns) or "false"


def _json(rows: object) -> str:
    return _encoder.encode(rows).decode()
