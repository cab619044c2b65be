"""How late the views are: over several partitions, of a stopped view, and on a node that folds nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from litestar.testing import AsyncTestClient
from prometheus_client.parser import text_string_to_metric_families

from app.core import events as ev
from app.core.envelope import NewEvent
from app.core.streams import conversation
from app.log.ids import new_id
from app.log.log import Log
from app.server import build_app, gateway_of
from app.settings import Settings
from projections import ALL
from projections.lag import Lag, lags, read_lags
from projections.reads import read_pool
from projections.runner import ProjectionRunner
from tests.support.logs import open_logs
from tests.support.service import script

# An application in this process: what the framework says of its next major release is no error here.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def parted(dsn: str) -> str:
    """A log of two partitions."""
    with psycopg.connect(dsn) as connection:
        connection.execute("INSERT INTO partitions (partition) VALUES (1)")
    return dsn


def stream_in(log: Log, partition: int) -> str:
    return next(
        name for n in range(100) if log.partition_of(name := conversation("alice", f"c{n}")) == partition
    )


async def say(log: Log, partition: int, count: int) -> None:
    for number in range(count):
        event = ev.MessageReceived(f"m{number}", "hello")
        await log.append(stream_in(log, partition), [NewEvent(new_id(), event)])


def damage(dsn: str, stream: str) -> None:
    """The stream's next event, in partition 1, is one that no release can read."""
    with psycopg.connect(dsn) as connection:
        connection.execute("UPDATE partitions SET position = position + 1 WHERE partition = 1")
        connection.execute(
            "INSERT INTO events (position, stream_id, stream_offset, recorded_at, id, partition, schema_version, "
            "type, actor, payload) SELECT p.position, s.id, (SELECT max(stream_offset) + 1 FROM events WHERE "
            "stream_id = s.id), now() - interval '1 day', gen_random_uuid(), 1, 1, 'message.received', 'system', %s "
            "FROM partitions p, streams s WHERE p.partition = 1 AND s.name = %s",
            ('{"type": "message.received", "content": 7}', stream),
        )


def by_name(found: list[Lag]) -> dict[str, Lag]:
    return {lag.name: lag for lag in found}


def age_seconds(dsn: str, partition: int, position: int) -> float:
    with psycopg.connect(dsn) as connection:
        row = connection.execute(
            "SELECT extract(epoch FROM clock_timestamp() - recorded_at)::float8 FROM events "
            "WHERE partition = %s AND position = %s",
            (partition, position),
        ).fetchone()
    assert row is not None
    return row[0]


async def test_events_are_counted_in_all_partitions_and_the_oldest_of_them_tells_the_seconds(
    parted: str,
) -> None:
    async with open_logs(parted, 1) as (log,):
        await say(log, 1, 3)
        await say(log, 0, 2)
        before = age_seconds(parted, 1, 1)
        late = by_name(lags(parted, ALL))
        assert {lag.events for lag in late.values()} == {5}, "also where a view has no checkpoint there yet"
        assert all(before <= lag.seconds <= age_seconds(parted, 1, 1) for lag in late.values())
        ProjectionRunner(parted).run_to_end()
        assert {(lag.position, lag.events, lag.seconds) for lag in lags(parted, ALL)} == {(5, 0, 0.0)}
        await say(log, 0, 1)
        before = age_seconds(parted, 0, 3)
        assert all(before <= lag.seconds <= age_seconds(parted, 0, 3) for lag in lags(parted, ALL))


async def test_a_stopped_view_is_later_and_later_and_says_where(parted: str) -> None:
    async with open_logs(parted, 1) as (log,):
        await say(log, 1, 2)
        damage(parted, stream_in(log, 1))
        await say(log, 0, 1)
        ProjectionRunner(parted).run_to_end()
        first = by_name(lags(parted, ALL))
        stopped = first["conversations"]
        assert stopped.problem.startswith("partition 1, position 3 (message.received): ")
        assert stopped.events == 1
        assert stopped.seconds > 86_400
        assert (first["files"].problem, first["files"].events, first["files"].seconds) == ("", 0, 0.0)
        await say(log, 1, 2)
        ProjectionRunner(parted).run_to_end()
        second = by_name(lags(parted, ALL))
        assert second["conversations"].events == 3
        assert second["conversations"].seconds > stopped.seconds
        async with read_pool(parted) as reads:
            third = by_name(await read_lags(reads, ALL))
        assert third["conversations"].events == second["conversations"].events
        assert third["conversations"].seconds > second["conversations"].seconds


@contextmanager
def folding_elsewhere(dsn: str) -> Iterator[None]:
    """Somebody else has all the leases, and does nothing."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "UPDATE projection_checkpoints SET lease_until = now() + interval '1 hour', worker_pid = pg_backend_pid(), "
            "worker_since = (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid())"
        )
        yield


async def figures(client: Any) -> dict[str, dict[str, float]]:
    """Those of views: by name of the figure, then by view."""
    text = (await client.get("/metrics")).text
    return {
        family.name: {sample.labels["view"]: sample.value for sample in family.samples}
        for family in text_string_to_metric_families(text)
        if family.name.startswith("minutebook_view_")
    }


async def test_a_node_that_folds_nothing_tells_it_all_the_same(parted: str, tmp_path: Path) -> None:
    """Guard: the query behind `/metrics`; what the process knows by itself is of its last look."""
    async with open_logs(parted, 1) as (log,):
        await say(log, 1, 2)
        damage(parted, stream_in(log, 1))
        ProjectionRunner(parted).run_to_end()
        settings = Settings(database_url=parted, data_dir=str(tmp_path), model=script(tmp_path, []))
        with folding_elsewhere(parted):
            app: Any = build_app(settings, parted, gateway_of(settings))
            async with AsyncTestClient(app=app, base_url="http://127.0.0.1:8765") as client:
                first = await figures(client)
                assert first["minutebook_view_stopped"]["conversations"] == 1
                assert first["minutebook_view_stopped"]["files"] == 0
                assert first["minutebook_view_lag_events"]["conversations"] == 1
                assert first["minutebook_view_lag_seconds"]["conversations"] > 86_400
                await say(log, 0, 3)
                second = await figures(client)
                assert second["minutebook_view_lag_events"]["conversations"] == 4
                assert second["minutebook_view_lag_events"]["files"] == 3
                assert second["minutebook_view_lag_seconds"]["files"] > 0
                assert second["minutebook_view_stopped"]["files"] == 0
