"""How late each view is, as the database knows it: in events, and in seconds since the oldest of them."""

from collections.abc import Sequence

import msgspec

from projections.pages import connect
from projections.projection import AnyProjection

_LAGS = b"""
SELECT c.name, max(c.version), sum(c.position)::bigint, sum(p.position - c.position)::bigint,
       coalesce(max(extract(epoch FROM now() - e.recorded_at)), 0)::float8,
       max(c.worker_pid) FILTER (WHERE c.lease_until > now()), coalesce(max(c.problem), '')
FROM projection_checkpoints c
JOIN partitions p USING (partition)
LEFT JOIN events e ON e.partition = c.partition AND e.position = c.position + 1
WHERE c.name = ANY($1)
GROUP BY c.name
"""


class Lag(msgspec.Struct, frozen=True):
    """`events` and `seconds` are 0 where everything is folded. `worker` is the backend of the node that folds it now.

    `problem`: the event that stopped it and why; or there is no such table, or it is of another version.
    """

    name: str
    version: int
    position: int
    events: int
    seconds: float
    worker: int | None = None
    problem: str = ""


def lags(dsn: str, projections: Sequence[AnyProjection]) -> list[Lag]:
    """In the order of the projections. Raises `psycopg.Error`."""
    with connect(dsn) as connection:
        rows = connection.execute(_LAGS, ([projection.name for projection in projections],)).fetchall()
    found = {row[0]: Lag(*row) for row in rows}
    return [_told(projection, found.get(projection.name)) for projection in projections]


def _told(projection: AnyProjection, lag: Lag | None) -> Lag:
    if lag is None:
        return Lag(
            projection.name, projection.version, 0, 0, 0.0, None, "it has not been built; start the service"
        )
    if lag.version == projection.version:
        return lag
    problem = f"its table has version {lag.version}, this release knows {projection.version}"
    return msgspec.structs.replace(lag, problem=problem)
