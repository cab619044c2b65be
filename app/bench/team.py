"""A team whose plan has two branches: its wall time over the longest path of the plan."""

import asyncio
from collections.abc import AsyncIterator
from itertools import count
from time import perf_counter

from app.bench.ground import Ground
from app.bench.measure import Goal, Row, milliseconds, row
from app.core.messages import ModelAnswer, ModelRequest
from app.experts.library import SHIPPED, ExpertLibrary
from app.gateway.model import ModelEvent
from app.log.log import Log
from app.runs.accept import Conversations
from app.runs.meetings import DEFAULT_TEAM
from app.runs.roster import plain_roster
from app.runs.runner import Runs
from app.tools.toolbox import ToolBox

PHASE_SECONDS = 1.0
QUICK_PHASE_SECONDS = 0.1
PATH_PHASES, PHASES = 2, 4
GOAL = 1.25
PLAN = """{"phases": [
 {"id": "a1", "name": "Hull plan", "task": "Draw the hull.", "owner": "OWNER0", "depends_on": []},
 {"id": "a2", "name": "Hull", "task": "Build the hull.", "owner": "OWNER1", "depends_on": ["a1"]},
 {"id": "b1", "name": "Sail plan", "task": "Draw the sail.", "owner": "OWNER2", "depends_on": []},
 {"id": "b2", "name": "Sail", "task": "Sew the sail.", "owner": "OWNER3", "depends_on": ["b1"]}]}"""


class WaitingModel:
    """Members take their time over a phase; the lead answers at once."""

    name = "waiting"

    def __init__(self, seconds: float, owners: tuple[str, ...]) -> None:
        self._seconds = seconds
        self._plan = PLAN
        for number, owner in enumerate(owners):
            self._plan = self._plan.replace(f"OWNER{number}", owner)

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        said = "\n".join(message.content or "" for message in request.messages)
        if "[Plan the team's work]" in said:
            yield ModelAnswer(self.name, self._plan)
        elif "[Review a result]" in said:
            yield ModelAnswer(self.name, '{"accepted": true, "comment": "Good."}')
        elif "[Your phase:" in said:
            await asyncio.sleep(self._seconds)
            yield ModelAnswer(self.name, "It is done.")
        else:
            yield ModelAnswer(self.name, "A boat.")

    def cost_usd(self, answer: ModelAnswer) -> float | None:
        return None

    async def load(self) -> None:
        """Nothing to load."""

    async def close(self) -> None:
        """Nothing to release."""


async def measure(ground: Ground) -> list[Row]:
    """One row. The longest path has two of the four phases."""
    seconds = QUICK_PHASE_SECONDS if ground.quick else PHASE_SECONDS
    async with ground.log() as (_, log):
        spent = await _take(ground, log, seconds)
    longest = PATH_PHASES * seconds
    return [
        row(
            "team, two branches",
            "wall time of a team's run with two branches of two phases each, over the longest path of its plan",
            [wall / longest for wall in spent],
            goal=None if ground.quick else Goal("≤", GOAL),
            figures={
                "a phase": milliseconds(seconds),
                "longest path": milliseconds(longest),
                "all phases": milliseconds(PHASES * seconds),
                "wall": milliseconds(sum(spent) / len(spent)),
            },
        )
    ]


async def _take(ground: Ground, log: Log, seconds: float) -> list[float]:
    toolbox = ToolBox([])
    roster = plain_roster(toolbox, experts=ExpertLibrary((SHIPPED,)))
    runs = Runs(log, WaitingModel(seconds, DEFAULT_TEAM), toolbox)
    conversations = Conversations(log, roster)
    numbers, spent = count(), list[float]()
    await runs.open()
    try:
        for _ in range(ground.rounds + 1):
            accepted = await conversations.accept("bench", "@team Build a boat", f"team-{next(numbers)}")
            began = perf_counter()
            await runs.start(accepted)
            spent.append(perf_counter() - began)
    finally:
        await runs.close()
    return spent[1:]
