"""What was killed and what came of it, as a table."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from uuid import UUID

import msgspec

from app.core.envelope import Recorded

HEADINGS = ("mode", "appends", "before", "after", "random", "runs", "resumed", "unknown", "takeover max")
Moment = str


class Line(msgspec.Struct):
    """Of one mode. `appends` of its scenarios; `kills` by moment: `random` are those that met such a run under load.
    `takeovers` in seconds."""

    appends: int = 0
    kills: dict[Moment, int] = {}
    runs: int = 0
    resumed: int = 0
    unknown: int = 0
    takeovers: list[float] = []

    def cells(self, name: str) -> tuple[str, ...]:
        takeover = f"{max(self.takeovers):.2f} s" if self.takeovers else "-"
        kills = (str(self.kills.get(moment, 0)) for moment in ("before", "after", "random"))
        return (
            name,
            str(self.appends),
            *kills,
            str(self.runs),
            str(self.resumed),
            str(self.unknown),
            takeover,
        )


class Report(msgspec.Struct):
    """`kills`: processes that died by SIGKILL. `rounds`: how often each append of each scenario was a target, before
    and after. `missed`: runs that ended before the append at which a kill was meant. `events`: in all logs."""

    kills: int = 0
    rounds: int = 0
    missed: int = 0
    events: int = 0
    lines: dict[str, Line] = msgspec.field(default_factory=lambda: defaultdict(Line))
    failures: list[str] = []
    progress: asyncio.Event = msgspec.field(default_factory=asyncio.Event)

    def hit(self, mode: str, moment: Moment) -> None:
        """A kill met a run of this mode."""
        kills = self.lines[mode].kills
        kills[moment] = kills.get(moment, 0) + 1

    def ended(self, mode: str, *, unknown: int, takeovers: Sequence[float]) -> None:
        """A run came to its end as it should. `takeovers`: how long its workers' successors took, in seconds."""
        line = self.lines[mode]
        line.runs += 1
        line.unknown += unknown
        line.resumed += bool(takeovers)
        line.takeovers += takeovers
        self.progress.set()

    def failed(self, what: str) -> None:
        self.failures.append(what)
        self.progress.set()

    async def until_ended(self, more: int) -> None:
        """Waits until so many more runs have ended, well or not."""
        wanted = self._ended + more
        while self._ended < wanted:
            self.progress.clear()
            await self.progress.wait()

    @property
    def _ended(self) -> int:
        return len(self.failures) + sum(line.runs for line in self.lines.values())

    def table(self) -> str:
        rows = [HEADINGS, *(self.lines[mode].cells(mode) for mode in sorted(self.lines))]
        widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
        lines = [
            "  ".join(
                cell.ljust(width) if column == 0 else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in rows
        ]
        lines.append(
            f"{self.kills} processes killed, {self.missed} kills missed, {self.events} events, "
            f"{len(self.failures)} failures"
        )
        return "\n".join(lines)


def takeovers(events: Iterable[Recorded], kills: Sequence[float]) -> list[float]:
    """How long after its worker's death each task of a conversation was claimed by the next worker, in seconds."""
    found: list[float] = []
    claimed_at: dict[UUID, float] = {}
    for one in events:
        if one.type != "run.claimed" or one.task_id is None:
            continue
        at = one.recorded_at.timestamp()
        before = claimed_at.get(one.task_id)
        if before is not None and (deaths := [kill for kill in kills if before <= kill <= at]):
            found.append(at - deaths[-1])
        claimed_at[one.task_id] = at
    return found
