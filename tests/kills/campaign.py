"""So many kills, of all kinds, in several lanes at once."""

import math
import random
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from tests.kills.harness import Harness
from tests.kills.lane import open_lane, running_forks
from tests.kills.report import Report
from tests.kills.scenarios import SCENARIOS, Scenario
from tests.support.databases import TestServer

LANES = 4
CHAINED_SHARE, LOAD_SHARE = 0.42, 0.18
"""Kills of runs that were killed before, and kills under load, for each targeted one. 1 000 kills have to be enough
for a round: at present it has 622 targets."""


async def kill(
    server: TestServer,
    folder: Path,
    *,
    kills: int,
    seed: int = 0,
    lanes: int = LANES,
    scenarios: Sequence[Scenario] = SCENARIOS,
    seconds_max: float = math.inf,
    tell: Callable[[str], None] = lambda table: None,
) -> Report:
    """Rounds of kills at every append, under load, and of runs that were killed before, until there are enough or the
    time is over.

    `tell` gets the table after every round.
    """
    report, dice = Report(), random.Random(seed)
    async with AsyncExitStack() as stack:
        forks = await stack.enter_async_context(running_forks(folder))
        opened = [
            await stack.enter_async_context(
                open_lane(forks, f"lane-{number}", stack.enter_context(server.database()))
            )
            for number in range(lanes)
        ]
        harness = Harness(opened, report, dice, until=time.monotonic() + seconds_max)
        await harness.learn(scenarios)
        while report.kills < kills and not harness.late:
            targets = harness.targets(scenarios)
            dice.shuffle(targets)
            chained, loaded = (round(share * len(targets)) for share in (CHAINED_SHARE, LOAD_SHARE))
            left = lambda: kills - report.kills  # noqa: E731
            meant = targets[: left()]
            await harness.kill_at(meant)
            report.rounds += len(meant) == len(targets) and not harness.late
            await harness.kill_under_load(scenarios, min(loaded, left()))
            await harness.kill_again_and_again(scenarios, min(chained, left()))
            tell(report.table())
        await harness.check_logs()
    return report
