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
FIRST = 30
"""Of the kills by chance so many come early, behind those of the meetings: where the time does not suffice for all,
there are some of each kind."""
MEETINGS = ("board", "team")
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
    """Rounds of kills under load, of runs that were killed before, and at every append, until there are enough or the
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
            meetings = [target for target in targets if target[0].mode in MEETINGS]
            others = [target for target in targets if target[0].mode not in MEETINGS]
            chained, loaded = (round(share * len(targets)) for share in (CHAINED_SHARE, LOAD_SHARE))
            left = lambda: kills - report.kills  # noqa: E731
            await harness.kill_at(meetings[: left()])
            await harness.kill_under_load(scenarios, min(loaded, FIRST, left()))
            await harness.kill_again_and_again(scenarios, min(chained, FIRST, left()))
            meant = others[: left()]
            await harness.kill_at(meant)
            report.rounds += len(meant) == len(others) and not harness.late
            await harness.kill_under_load(scenarios, min(loaded - FIRST, left()))
            await harness.kill_again_and_again(scenarios, min(chained - FIRST, left()))
            tell(report.table())
        await harness.check_logs()
    return report
