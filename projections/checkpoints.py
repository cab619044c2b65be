"""How far each projection is: the rows of `projection_checkpoints`, and what this process knows of them."""

import threading
from collections.abc import Sequence
from typing import Any

import msgspec
import psycopg

from app.database.migrate import ADVISORY_LOCK
from projections.projection import AnyProjection, Poison

Connection = psycopg.Connection[tuple[Any, ...]]

_MAKE = b"""
INSERT INTO projection_checkpoints (name, partition, version)
SELECT $1, partition, $2 FROM partitions
ON CONFLICT DO NOTHING
"""
_RESET = b"UPDATE projection_checkpoints SET position = 0, version = $2, updated_at = now() WHERE name = $1"
_MOVE = b"""
UPDATE projection_checkpoints SET position = $3, updated_at = now(), problem = NULL
WHERE name = $1 AND partition = $2 AND position = $4 AND version = $5
"""
_MOVE_TOGETHER = b"""
WITH meant AS (
    SELECT c.name FROM projection_checkpoints c
    JOIN unnest($1::text[], $2::integer[]) AS w (name, version) ON w.name = c.name AND w.version = c.version
    WHERE c.partition = $3 AND c.position = $5
    ORDER BY c.name FOR NO KEY UPDATE OF c
)
UPDATE projection_checkpoints c SET position = $4, updated_at = now(), problem = NULL
FROM meant WHERE c.name = meant.name AND c.partition = $3
RETURNING c.name
"""
_CURRENT = b"""
SELECT bool_and(
    to_regclass(current_schema() || '.' || w.name) IS NOT NULL
    AND (SELECT count(*) FROM projection_checkpoints c WHERE c.name = w.name AND c.version = w.version)
        = (SELECT count(*) FROM partitions))
FROM unnest($1::text[], $2::integer[]) AS w (name, version)
"""
_STOP = b"UPDATE projection_checkpoints SET problem = $3 WHERE name = $1 AND partition = $2"
_RETRY = b"UPDATE projection_checkpoints SET problem = NULL WHERE name = $1 AND problem IS NOT NULL"
_READ = b"SELECT position, version FROM projection_checkpoints WHERE name = $1 AND partition = $2"


class ProjectionStatus(msgspec.Struct, frozen=True):
    """`position` and `log_position` are sums over the partitions; `behind` counts events.

    `stopped`: it needs a person.
    """

    name: str
    version: int
    position: int
    log_position: int
    stopped: Poison | None = None

    @property
    def behind(self) -> int:
        return max(0, self.log_position - self.position)


def retry(connection: Connection, name: str) -> bool:
    """Have every node try again with the event that a projection stopped at. False: it has not stopped."""
    return connection.execute(_RETRY, (name,)).rowcount > 0


class Checkpoints:
    """What one process knows. The database has the last word: every write is under the lock of the checkpoint's row."""

    def __init__(self, projections: Sequence[AnyProjection]) -> None:
        self._projections = {projection.name: projection for projection in projections}
        self._lock = threading.Lock()
        self._positions: dict[tuple[str, int], int] = {}
        self._log: dict[int, int] = {}
        self._stopped: dict[str, tuple[int, Poison]] = {}
        self._tables: set[str] = set()
        self.partitions: tuple[int, ...] = ()

    def prepare(self, connection: Connection, *, in_place: bool = False) -> list[str]:
        """Make what is missing of tables and checkpoints, and read where they stand. Returns what has to be built.

        A table of an older version, or one that is missing although there is something to fold, is to be built beside
        (`building.py`), unless `in_place`: then it is made empty, here. A projection whose table is of a newer release
        is left alone and stays stopped.
        """
        if self._is_current(connection):
            self._tables.update(self._projections)
            self._look(connection)
            return []
        connection.execute("SELECT pg_advisory_lock($1)", (ADVISORY_LOCK,))
        try:
            empty = connection.execute("SELECT sum(position) = 0 FROM partitions").fetchone() == (True,)
            outdated: list[str] = []
            for projection in self._projections.values():
                with connection.transaction():
                    if not self._prepare_one(connection, projection, in_place=in_place or empty):
                        outdated.append(projection.name)
            self._look(connection)
        finally:
            if not connection.closed:
                connection.execute("SELECT pg_advisory_unlock($1)", (ADVISORY_LOCK,))
        return outdated

    def _is_current(self, connection: Connection) -> bool:
        """Whether nothing is missing and everything is of this release, as at nearly every start: one query then, and
        no waiting for whoever is building."""
        versions = [projection.version for projection in self._projections.values()]
        return connection.execute(_CURRENT, (self.names, versions)).fetchone() == (True,)

    def _look(self, connection: Connection) -> None:
        """Where they stand."""
        rows = connection.execute("SELECT name, partition, position FROM projection_checkpoints").fetchall()
        heads = connection.execute("SELECT partition, position FROM partitions ORDER BY partition").fetchall()
        with self._lock:
            self._positions = {(name, partition): position for name, partition, position in rows}
            self._log = dict(heads)
            self.partitions = tuple(self._log)

    def _prepare_one(self, connection: Connection, projection: AnyProjection, *, in_place: bool) -> bool:
        """False where it has to be built."""
        row = connection.execute(
            "SELECT to_regclass(current_schema() || '.' || $1), current_schema(), "
            "(SELECT max(version) FROM projection_checkpoints WHERE name = $1)",
            (projection.name,),
        ).fetchone()
        table, schema, version = row if row is not None else (None, "public", None)
        if table is not None:
            self._tables.add(projection.name)
        if version is not None and version > projection.version:
            reason = f"its table has version {version}, this release knows {projection.version}; run the newer release"
            self.stop(projection.name, Poison(0, "", reason))
            return True
        if table is not None and version == projection.version:
            connection.execute(_MAKE, (projection.name, projection.version))
            return True
        if not in_place:
            return False
        # The checkpoint before the table, as in every fold: two nodes never wait for each other.
        connection.execute(_RESET, (projection.name, projection.version))
        connection.execute(_MAKE, (projection.name, projection.version))
        for name, _ in projection.tables:
            connection.execute(f'DROP TABLE IF EXISTS "{schema}".{name}'.encode())
        connection.execute(projection.all_ddl.encode())
        return True

    def move(self, connection: Connection, name: str, partition: int, start: int, end: int) -> bool:
        """Move the checkpoint from `start` to `end`, which locks it until the transaction ends.

        False if it is not at `start`: somebody else has folded meanwhile.
        """
        version = self._projections[name].version
        moved = connection.execute(_MOVE, (name, partition, end, start, version))
        if moved.rowcount == 1:
            return True
        row = connection.execute(_READ, (name, partition)).fetchone()
        if row is not None and row[1] == version:
            self.reached(name, partition, row[0])
        else:
            found = "no version" if row is None else f"version {row[1]}"
            reason = f"its table has {found} now, not {version}; start this process again"
            self.stop(name, Poison(0, "", reason))
        return False

    def move_together(
        self, connection: Connection, names: Sequence[str], partition: int, start: int, end: int
    ) -> frozenset[str]:
        """`move` for several at once. Returns which were at `start`; `move` tells why another was not."""
        versions = [self._projections[name].version for name in names]
        moved = connection.execute(_MOVE_TOGETHER, (list(names), versions, partition, end, start))
        return frozenset(name for (name,) in moved.fetchall())

    def reached(self, name: str, partition: int, position: int) -> None:
        with self._lock:
            self._positions[name, partition] = position

    def saw(self, partition: int, position: int) -> None:
        """The log has at least this position."""
        with self._lock:
            self._log[partition] = max(position, self._log.get(partition, 0))

    def stop(self, name: str, poison: Poison, partition: int = 0) -> None:
        """It goes no further in this process. Position 0: not for an event, but for good."""
        with self._lock:
            self._stopped[name] = partition, poison

    def note_stop(self, connection: Connection, name: str, poison: Poison, partition: int) -> None:
        """`stop`, for all to see."""
        self.stop(name, poison, partition)
        problem = f"position {poison.position} ({poison.type}): {poison.reason}"
        connection.execute(_STOP, (name, partition, problem))

    def take_up(self, name: str, partition: int) -> None:
        """Go on where it stopped: somebody has folded past the event, or wants it to be tried again."""
        with self._lock:
            if name in self._stopped and self._stopped[name][0] == partition:
                _, poison = self._stopped[name]
                if poison.position:
                    del self._stopped[name]

    def has_table(self, name: str) -> bool:
        """Whether there was one, of whatever version, when this process looked."""
        return name in self._tables

    @property
    def names(self) -> list[str]:
        return list(self._projections)

    def position(self, name: str, partition: int) -> int:
        with self._lock:
            return self._positions.get((name, partition), 0)

    def running(self) -> list[str]:
        """Those that are not stopped."""
        with self._lock:
            return [name for name in self._projections if name not in self._stopped]

    def stopped(self, name: str) -> Poison | None:
        with self._lock:
            return self._poison(name)

    def _poison(self, name: str) -> Poison | None:
        return self._stopped[name][1] if name in self._stopped else None

    def status(self) -> list[ProjectionStatus]:
        with self._lock:
            return [
                ProjectionStatus(
                    name,
                    projection.version,
                    sum(self._positions.get((name, partition), 0) for partition in self.partitions),
                    sum(self._log.values()),
                    self._poison(name),
                )
                for name, projection in self._projections.items()
            ]
