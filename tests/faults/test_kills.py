"""A real service that is killed with SIGKILL at every append and at random, and one whose Postgres is restarted.

No acknowledged message is lost, no event is there twice, every run ends once and as if nothing had happened, `once`
tools never take effect twice, no speech of a board is given twice and no phase of a team done twice, and a run goes on
within its lease and 5 s. `docs/kills.md` tells how it is done.
Guards: the recorded intent of a `once` call (`Driver._may_have_begun`), the lease's epoch, ids derived from the run.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Literal

import pytest

from app.database.embedded import EmbeddedPostgres
from app.database.migrate import migrate
from tests.kills.campaign import kill
from tests.kills.harness import Harness
from tests.kills.lane import Lane, open_lane, running_forks
from tests.kills.report import Report
from tests.kills.scenarios import SCENARIOS
from tests.support.databases import TestServer

KILLS = 1_000
SECONDS_MAX = 600.0
"""They take 200 on two cores beside other tests."""
RESTARTS = 3
RUNS_BEFORE_RESTART = 8


@pytest.mark.timeout(900)
async def test_a_killed_service_goes_on_as_if_nothing_had_happened(
    server: TestServer, tmp_path: Path, show_table: Callable[[str], None]
) -> None:
    report = await kill(server, tmp_path, kills=KILLS, seconds_max=SECONDS_MAX)
    show_table(report.table())
    assert report.failures == []
    assert report.kills >= KILLS
    assert report.rounds, "each append of each scenario was a target"
    assert set(report.lines) == {scenario.mode for scenario in SCENARIOS}
    assert all(line.kills.keys() == {"before", "after", "random"} for line in report.lines.values())
    assert sum(line.unknown for line in report.lines.values()), "some outcome was lost"


@pytest.fixture
async def restarted(tmp_path: Path) -> AsyncIterator[tuple[EmbeddedPostgres, Lane]]:
    """A Postgres of its own, and a service on it."""
    async with AsyncExitStack() as stack:
        postgres = stack.enter_context(EmbeddedPostgres(tmp_path / "postgres", fsync=False))
        migrate(postgres.dsn)
        (folder := tmp_path / "kills").mkdir()
        forks = await stack.enter_async_context(running_forks(folder))
        yield postgres, await stack.enter_async_context(open_lane(forks, "lane", postgres.dsn))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("how", ["fast", "immediate"])
async def test_runs_go_on_over_a_restart_of_postgres(
    restarted: tuple[EmbeddedPostgres, Lane], how: Literal["fast", "immediate"]
) -> None:
    """The process lives on, so it knows what its tools did: even `once` calls end as if nothing had happened."""
    postgres, lane = restarted
    report = Report()
    harness = Harness([lane], report, random.Random(1))
    scenarios = [scenario for scenario in SCENARIOS if not scenario.settings]
    await harness.learn(scenarios)

    async def restart_often() -> None:
        for _ in range(RESTARTS):
            await report.until_ended(RUNS_BEFORE_RESTART)
            await asyncio.to_thread(postgres.restart, how)
        await report.until_ended(RUNS_BEFORE_RESTART)

    await harness.disturb(lane, scenarios, restart_often())
    await harness.check_logs()
    assert report.failures == []
    assert sum(line.unknown for line in report.lines.values()) == 0
