"""Which node folds which projection: one at a time, and another as soon as it is gone.

    free ──claim──► mine ──renewed while there is something to fold──► mine
      ▲                                                                  │
      └── the lease is over, or the connection of its worker has gone ◄──┘

A lease saves work; that the tables are right rests on the checkpoint's position alone. So a worker that was frozen and
goes on behind its lease does no harm.
"""

from collections.abc import Callable
from time import monotonic
from typing import Any, TypeAlias

import msgspec
import psycopg

from projections.checkpoints import Checkpoints

LEASE_SECONDS = 1.0
TRAILING_SECONDS = 0.01
"""How often a node looks how far the others have come, while there is something to fold that is not its own."""

Place: TypeAlias = tuple[str, int]
"""A projection's name and a partition."""

# Not the view `pg_stat_activity`, which joins this with databases and roles: planning that alone took a millisecond.
_ME = b"SELECT backend_start FROM pg_stat_get_activity(pg_backend_pid())"
_LOOK = b"""
SELECT c.name, c.partition, c.position, p.position, c.problem IS NOT NULL,
       c.worker_pid = pg_backend_pid() AND c.worker_since = $2,
       c.lease_until IS NULL OR c.lease_until < now() OR NOT EXISTS (
           SELECT FROM pg_stat_get_activity(c.worker_pid) a WHERE a.backend_start = c.worker_since)
FROM projection_checkpoints c JOIN partitions p USING (partition) WHERE c.name = ANY($1)
"""
# Whoever changes several rows locks them in the order of their names, so that nobody waits for one who waits for him.
_CLAIM = b"""
WITH free AS (
    SELECT c.name, c.partition FROM projection_checkpoints c
    WHERE c.name = ANY($1) AND (
        c.worker_pid = pg_backend_pid() AND c.worker_since = $2
        OR c.lease_until IS NULL OR c.lease_until < now() OR NOT EXISTS (
            SELECT FROM pg_stat_get_activity(c.worker_pid) a WHERE a.backend_start = c.worker_since))
    ORDER BY c.name, c.partition FOR NO KEY UPDATE OF c
)
UPDATE projection_checkpoints c
SET worker_pid = pg_backend_pid(), worker_since = $2, lease_until = now() + make_interval(secs => $3)
FROM free WHERE c.name = free.name AND c.partition = free.partition
RETURNING c.name, c.partition
"""
_RELEASE = b"""
WITH mine AS (
    SELECT name, partition FROM projection_checkpoints
    WHERE worker_pid = pg_backend_pid() AND worker_since = $1
    ORDER BY name, partition FOR NO KEY UPDATE
)
UPDATE projection_checkpoints c SET lease_until = NULL
FROM mine WHERE c.name = mine.name AND c.partition = mine.partition
"""


class _Standing(msgspec.Struct, frozen=True):
    """How far a projection is, of how much; `own`: this worker's, if its lease is not over; `free`: nobody's."""

    name: str
    partition: int
    position: int
    head: int
    stopped: bool
    own: bool | None
    free: bool

    @property
    def place(self) -> Place:
        return self.name, self.partition


class Ownership:
    """What this session may fold. `connection` stands for the worker: when it ends, so does the lease."""

    def __init__(
        self,
        connection: psycopg.Connection[tuple[Any, ...]],
        checkpoints: Checkpoints,
        *,
        lease_seconds: float = LEASE_SECONDS,
        now: Callable[[], float] = monotonic,
    ) -> None:
        self._connection = connection
        self._checkpoints = checkpoints
        self._lease_seconds = lease_seconds
        self._now = now
        (self._since,) = connection.execute(_ME).fetchone() or (None,)
        self._owned: frozenset[Place] = frozenset()
        self._alone = False
        self._look_at = 0.0
        self.trailing = False

    def owned(self) -> frozenset[Place]:
        """The places that are this worker's now. Asks the database where its own lease needs renewal, or, at most every
        10 ms, where others are at work. Afterwards `trailing` says whether others have something to fold, or may have:
        then ask again after these 10 ms. Raises `psycopg.Error`."""
        now = self._now()
        if now >= self._look_at:
            self._look(now)
        elif not self._alone:
            # Something may have been written since, and what is nobody's yet is to be claimed.
            self.trailing = True
        return self._owned

    def release(self) -> None:
        """Let others go on at once. Raises `psycopg.Error`."""
        self._connection.execute(_RELEASE, (self._since,))
        self._owned, self._look_at = frozenset(), 0.0

    def _look(self, now: float) -> None:
        names = self._checkpoints.names
        found = [_Standing(*row) for row in self._connection.execute(_LOOK, (names, self._since)).fetchall()]
        for one in found:
            self._checkpoints.saw(one.partition, one.head)
            # Of one's own a commit may be newer than this look.
            if not one.own or one.position > self._checkpoints.position(*one.place):
                self._checkpoints.reached(one.name, one.partition, one.position)
            if not one.stopped:
                self._checkpoints.take_up(one.name, one.partition)
        running = frozenset(self._checkpoints.running())
        behind = {one.place for one in found if one.position < one.head and one.name in running}
        self._owned = frozenset(one.place for one in found if one.own and not one.free)
        claim = [one.name for one in found if one.name in running and (one.own or one.free)]
        if claim and behind:
            claimed = self._connection.execute(_CLAIM, (claim, self._since, self._lease_seconds))
            self._owned = frozenset((name, partition) for name, partition in claimed.fetchall())
        self._alone = {one.place for one in found if one.name in running} <= self._owned
        self.trailing = not behind <= self._owned
        self._look_at = now + (self._lease_seconds / 3 if self._alone else TRAILING_SECONDS)
