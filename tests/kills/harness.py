"""Kills and what comes of them: at every append of every scenario, of runs killed before, and under load."""

import asyncio
import math
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any

import asyncpg
import msgspec

from app.core.envelope import Recorded
from app.runs.ledger import patiently
from tests.kills.checks import Broken, check_conversation, check_log, demand
from tests.kills.client import Client
from tests.kills.lane import LEASE_SECONDS, Lane
from tests.kills.meeting_checks import check_meetings
from tests.kills.minutes import Row, difference, minutes, unknown
from tests.kills.report import Report, takeovers
from tests.kills.scenarios import Scenario
from tests.kills.trap import Target

RUN_SECONDS_MAX = 90.0
TAKEOVER_SECONDS_MAX = LEASE_SECONDS + 5.0
LOAD = 4
"""Conversations at once."""
KILLS_OF_A_RUN = 3
TARGETS_OF_A_RUN = 8
APPENDS_UNDER_LOAD_MAX = 40
SECONDS_UNDER_LOAD_MAX = 0.7

Job = Callable[[Lane], Awaitable[object]]


class Reference(msgspec.Struct, frozen=True):
    """How a scenario goes when nobody disturbs it. `appends`: the numbers of the events with which they begin.
    `forgotten`: the same where nobody knows what `once` calls did."""

    appends: list[int]
    tasks: int
    plain: list[list[Row]]
    forgotten: list[list[Row]]


class Run(msgspec.Struct, frozen=True):
    """A conversation that is under way: `playing` ends with its last turn. `targets`: the kills it is to meet."""

    scenario: Scenario
    client: Client
    playing: asyncio.Task[None]
    targets: Sequence[Target] = ()


class Harness:
    """Not finding what should be there is a failure in the report, and the next run goes on."""

    def __init__(
        self, lanes: Sequence[Lane], report: Report, dice: random.Random, *, until: float = math.inf
    ) -> None:
        """`until`: by the monotonic clock; no run is begun behind it."""
        self._until = until
        self._lanes = lanes
        self._report = report
        self._dice = dice
        self._references: dict[str, Reference] = {}
        self._number = 0

    @property
    def late(self) -> bool:
        return time.monotonic() > self._until

    async def learn(self, scenarios: Sequence[Scenario]) -> None:
        """How each of them goes undisturbed."""
        await self._in_lanes([partial(self._learn, scenario) for scenario in scenarios])

    def targets(self, scenarios: Sequence[Scenario]) -> list[tuple[Scenario, Target]]:
        """Every append of every scenario, before and after."""
        return [
            (scenario, Target(nth, moment, of_run=True))
            for scenario in scenarios
            for nth in self._references[scenario.name].appends
            for moment in ("before", "after")
        ]

    async def kill_at(self, targets: Sequence[tuple[Scenario, Target]]) -> None:
        """One kill each. A conversation meets up to eight of them, from its beginning to its end; what is not met then,
        because the appends came otherwise, has a run of its own."""
        late: list[tuple[Scenario, Target]] = []

        async def kill_in_turn(scenario: Scenario, inside: Sequence[Target], lane: Lane) -> None:
            unmet = await self._kill(scenario, inside, lane)
            if len(inside) == 1:  # it would not be met again
                self._report.missed += len(unmet)
            else:
                late.extend((scenario, target) for target in unmet)

        groups = self._grouped(targets)
        await self._in_lanes([partial(kill_in_turn, scenario, inside) for scenario, inside in groups])
        await self._in_lanes([partial(kill_in_turn, scenario, [target]) for scenario, target in late])

    def _grouped(self, targets: Sequence[tuple[Scenario, Target]]) -> list[tuple[Scenario, Sequence[Target]]]:
        """By the run that meets them, and those of one kind of process together."""
        found: list[tuple[Scenario, Sequence[Target]]] = []
        for name in dict.fromkeys(scenario.name for scenario, _ in targets):
            scenario = next(one for one, _ in targets if one.name == name)
            own = [target for one, target in targets if one.name == name]
            runs = math.ceil(len(own) / TARGETS_OF_A_RUN)
            for first in range(runs):
                inside = sorted(own[first::runs], key=lambda one: (one.nth, one.moment == "after"))
                found.append((scenario, inside))
        self._dice.shuffle(found)
        return sorted(found, key=lambda group: group[0].settings, reverse=True)  # the few first

    async def kill_again_and_again(self, scenarios: Sequence[Scenario], kills: int) -> None:
        """The same run up to three times, at appends by chance, counted from its restart."""
        jobs: list[Job] = []
        while kills > 0:
            scenario = self._dice.choice(scenarios)
            targets = [self._chance(5) for _ in range(min(kills, KILLS_OF_A_RUN))]
            jobs.append(partial(self._kill_by_turns, scenario, targets))
            kills -= len(targets)
        await self._in_lanes(jobs)

    async def kill_under_load(self, scenarios: Sequence[Scenario], kills: int) -> None:
        """Several conversations at once; half of the kills come from outside, at a time by chance."""
        jobs: list[Job] = []
        while kills > 0:
            settings = self._dice.choice(scenarios).settings
            alike = [scenario for scenario in scenarios if scenario.settings == settings]
            jobs.append(partial(self._load, alike, min(kills, KILLS_OF_A_RUN)))
            kills -= KILLS_OF_A_RUN
        await self._in_lanes(jobs)

    async def disturb(
        self, lane: Lane, scenarios: Sequence[Scenario], disturbance: Coroutine[Any, Any, None]
    ) -> None:
        """Several conversations at once until the disturbance is over, in one process, which has to live on."""
        await self._ready(lane, scenarios[0])
        disturbing = asyncio.create_task(disturbance)
        going: list[Run] = []
        while not disturbing.done():
            going = await self._top_up(lane, scenarios, going)
            playing = {run.playing for run in going}
            await asyncio.wait({disturbing, *playing}, return_when=asyncio.FIRST_COMPLETED)
        await disturbing
        for run in going:
            await self._finish(lane, run)
        demand(not lane.victim.dead, "the service has ended")

    async def check_logs(self) -> None:
        """Each lane's log as a whole, and that no process complained of an error."""
        for lane in self._lanes:
            await lane.stop()
            connection = await asyncpg.connect(lane.dsn)
            try:
                self._report.events += await check_log(connection)
                demand(not (errors := lane.errors()), f"errors in the service's own log: {errors[:3]}")
            except Broken as broken:
                self._report.failed(f"{lane.name}: {broken}")
            finally:
                await connection.close()

    async def _in_lanes(self, jobs: Sequence[Job]) -> None:
        waiting = deque(jobs)

        async def work(lane: Lane) -> None:
            while waiting and not self.late:
                await waiting.popleft()(lane)

        async with asyncio.TaskGroup() as group:
            for lane in self._lanes:
                group.create_task(work(lane))

    async def _learn(self, scenario: Scenario, lane: Lane) -> None:
        found: list[tuple[list[int], list[Recorded]]] = []
        for forgotten in (False, True) if scenario.once else (False,):
            await self._ready(lane, scenario)
            run = self._begin(lane, scenario, [Target(of_run=True)], forgotten=forgotten)
            async with asyncio.timeout(RUN_SECONDS_MAX):
                await run.playing
            events = await recorded(lane, run.client)
            tasks = sum(one.type == "run.requested" for one in events)
            await self._check(lane, run, events, tasks)
            found.append((lane.trap.began, events))
        (_, plain), (_, forgetful) = found[0], found[-1]
        appends = max((appends for appends, _ in found), key=len)
        tasks = sum(one.type == "run.requested" for one in plain)
        self._references[scenario.name] = Reference(
            appends, tasks, minutes(plain, keys=scenario.keys), minutes(forgetful, keys=scenario.keys)
        )
        self._report.lines[scenario.mode].appends += len(appends)

    async def _kill(self, scenario: Scenario, targets: Sequence[Target], lane: Lane) -> list[Target]:
        """One run, killed at each of the targets in turn. Returns those that were not met."""
        await self._ready(lane, scenario)
        run = self._begin(lane, scenario, targets)
        left, unmet = deque(targets), list[Target]()
        while left and await self._dies(lane, [run]):
            target = left.popleft()
            self._report.hit(scenario.mode, target.moment)
            if target.of_run:
                while left and left[0].passed(lane.trap.count):
                    unmet.append(left.popleft())
                lane.trap.arm_again(left[0] if left else None)
            else:
                lane.trap.arm(left[0] if left else None, run.client.stream)
            await lane.start(dict(scenario.settings))
        await self._finish(lane, run)
        lane.trap.arm()
        return [*unmet, *left]

    async def _kill_by_turns(self, scenario: Scenario, targets: Sequence[Target], lane: Lane) -> None:
        self._report.missed += bool(await self._kill(scenario, targets, lane))

    async def _load(self, scenarios: Sequence[Scenario], kills: int, lane: Lane) -> None:
        await self._ready(lane, scenarios[0])
        going: list[Run] = []
        for left in range(kills, -1, -1):
            lane.trap.arm()
            if not lane.alive(dict(scenarios[0].settings)):
                await lane.start(dict(scenarios[0].settings))
            if not left:
                break
            killing = self._kill_by_chance(lane)
            try:
                going = await self._keep_busy(lane, scenarios, going)
            finally:
                killing.cancel()
                await asyncio.gather(killing, return_exceptions=True)
        for run in going:
            await self._finish(lane, run)

    def _kill_by_chance(self, lane: Lane) -> asyncio.Task[None]:
        """Either the trap springs at some append, or the process is killed from outside at some time."""
        outside, target = self._dice.random() < 0.5, self._chance(APPENDS_UNDER_LOAD_MAX)
        delay_seconds = self._dice.uniform(0, SECONDS_UNDER_LOAD_MAX)

        async def kill() -> None:
            if outside:
                await asyncio.sleep(delay_seconds)
                await lane.victim.kill()

        if not outside:
            lane.trap.arm(target)
        return asyncio.create_task(kill())

    async def _keep_busy(self, lane: Lane, scenarios: Sequence[Scenario], going: list[Run]) -> list[Run]:
        """Until the process dies. Returns the runs that were under way then."""
        while True:
            going = await self._top_up(lane, scenarios, going)
            if await self._dies(lane, going):
                for run in going:
                    self._report.hit(run.scenario.mode, "random")
                return going

    async def _top_up(self, lane: Lane, scenarios: Sequence[Scenario], going: Sequence[Run]) -> list[Run]:
        """Puts new runs in the place of those that have ended, and looks at these."""
        for run in going:
            if run.playing.done():
                await self._finish(lane, run)
        kept = [run for run in going if not run.playing.done()]
        return [*kept, *(self._begin(lane, self._dice.choice(scenarios)) for _ in range(LOAD - len(kept)))]

    def _begin(
        self, lane: Lane, scenario: Scenario, targets: Sequence[Target] = (), *, forgotten: bool = False
    ) -> Run:
        self._number += 1
        client = Client(lane, f"{scenario.name.replace(', ', '-')}-{self._number}")
        if forgotten:
            lane.effects.forget_outcomes(client.conversation_id)
        if targets:
            lane.trap.arm(targets[0], client.stream)
        return Run(scenario, client, asyncio.create_task(scenario.play(client)), targets)

    async def _ready(self, lane: Lane, scenario: Scenario) -> None:
        settings = dict(scenario.settings)
        if not lane.alive(settings):
            await lane.stop()
            lane.trap.arm()
            await lane.start(settings)

    async def _dies(self, lane: Lane, runs: Sequence[Run]) -> bool:
        """Waits for the process to die (True), or for one of the runs to end."""
        death = asyncio.ensure_future(lane.victim.death())
        try:
            await asyncio.wait(
                {death, *(run.playing for run in runs)},
                timeout=RUN_SECONDS_MAX,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            dead = lane.victim.dead
            death.cancel()
        if dead:
            await lane.death()
            self._report.kills += 1
        return dead

    async def _finish(self, lane: Lane, run: Run) -> None:
        """Wait for the run's end and look whether everything is as it should be."""
        scenario, report = run.scenario, self._report
        reference = self._references[scenario.name]
        try:
            async with asyncio.timeout(RUN_SECONDS_MAX):
                await run.playing
            events = await recorded(lane, run.client)
            await self._check(lane, run, events, reference.tasks)
            lost = unknown(events)
            expected = reference.forgotten if lost else reference.plain
            found = minutes(events, keys=scenario.keys)
            demand(found == expected, f"goes on differently:\n{difference(expected, found)}")
            taken_over = takeovers(events, lane.kills)
            demand(max(taken_over, default=0.0) <= TAKEOVER_SECONDS_MAX, f"takeover after {taken_over} s")
        except Exception as error:
            run.playing.cancel()
            await run.client.close()
            there = [
                f"{one.offset} {one.type} {one.payload[:160]}" for one in await recorded(lane, run.client)
            ]
            what = f"{type(error).__name__}: {error}"
            report.failed("\n  ".join([f"{lane.name} {run.client.stream} {run.targets}: {what}", *there]))
        else:
            report.ended(scenario.mode, unknown=lost, takeovers=taken_over)

    async def _check(self, lane: Lane, run: Run, events: Sequence[Recorded], tasks: int) -> None:
        check_conversation(events, run.client, lane.effects, tasks)
        await patiently(partial(check_meetings, lane.reader, events, run.client))

    def _chance(self, appends: int) -> Target:
        return Target(self._dice.randint(1, appends), self._dice.choice(("before", "after")))


async def recorded(lane: Lane, client: Client) -> list[Recorded]:
    """What the log holds of the conversation."""

    async def read() -> list[Recorded]:
        return [one async for one in lane.reader.all_of(client.stream)]

    return await patiently(read)
