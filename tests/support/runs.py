"""Runs in tests: a process with a scripted model, and what the log holds of a task when all is over."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from app.core.agent import Agent
from app.core.envelope import NewEvent, Recorded
from app.core.events import TERMINAL_TYPES, Effect, event_type
from app.core.messages import ModelRequest
from app.core.texts import Locale
from app.gateway.model import Model, ModelEvent, TextDelta
from app.gateway.scripted import Rule, ScriptedModel
from app.log.errors import LogUnavailable
from app.log.log import Log
from app.log.subscribe import Filter
from app.runs.accept import Accepted, Busy, Conversations
from app.runs.quotas import Quotas
from app.runs.roster import plain_roster
from app.runs.runner import Runs
from app.tools import calculator, clock
from app.tools.tool import Tool, ToolContext, make_tool
from app.tools.toolbox import ToolBox

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
WAIT_SECONDS = 10.0
VOLATILE = {"duration_ms", "message_id"}


class NoteArguments(msgspec.Struct, frozen=True):
    text: str = ""


class Notes:
    """A tool that counts how often it was really called, and with which idempotency keys."""

    def __init__(self, effect: Effect = "once", name: str = "note") -> None:
        self.keys: list[str] = []
        self.tool: Tool = make_tool(name, "Takes a note.", NoteArguments, self._call, effect=effect)

    async def _call(self, arguments: NoteArguments, context: ToolContext) -> str:
        self.keys.append(context.idempotency_key)
        return f"noted {arguments.text}"


class Process:
    """One service process, as far as runs are concerned."""

    def __init__(self, log: Log, conversations: Conversations, runs: Runs) -> None:
        self.log = log
        self.conversations = conversations
        self.runs = runs

    async def run(self, message: str, **options: Any) -> list[Recorded]:
        """Send it, wait for its end, give the task's events."""
        accepted = await self.conversations.accept("alice", message, **options)
        await self.runs.start(accepted)
        return await task_events(self.log, accepted)


@asynccontextmanager
async def process(
    log: Log,
    model: Model,
    tools: Sequence[Tool] = (),
    *,
    agent: Agent | None = None,
    locale: Locale = "en",
    now: Callable[[], datetime] = lambda: NOON,
    busy: Busy = "queue",
    tasks_max: int = 100,
    quotas: Quotas | None = None,
    **options: Any,
) -> AsyncIterator[Process]:
    toolbox = ToolBox([calculator.tool(), clock.tool(), *tools])
    runs = Runs(log, model, toolbox, now=now, quotas=quotas, **options)
    await runs.open()
    try:
        roster = plain_roster(toolbox, agent, locale=locale)
        conversations = Conversations(
            log, roster, busy=busy, tasks_max=tasks_max, admit=runs.admit, quotas=quotas
        )
        yield Process(log, conversations, runs)
    finally:
        await runs.close()


async def stream_events(log: Log, stream: str) -> list[Recorded]:
    return [recorded async for recorded in log.reader.all_of(stream)]


async def task_events(log: Log, accepted: Accepted) -> list[Recorded]:
    return [one for one in await stream_events(log, accepted.stream) if one.task_id == accepted.task_id]


async def until(log: Log, stream: str, kind: str, task_id: UUID | None = None) -> Recorded:
    """Waits until the stream has an event of that type, at most 10 s."""
    async with log.subscribe(stream, wanted=Filter(frozenset({kind}), task_id), deltas=False) as subscription:
        while True:
            batch = await subscription.next(timeout_seconds=WAIT_SECONDS)
            if batch.events:
                return batch.events[0]
            raise AssertionError(f"no {kind} in {stream} within {WAIT_SECONDS} s")


async def until_said(log: Log, stream: str, said: str) -> None:
    """Waits until a reader of the stream has been shown this text of an open answer, at most 10 s."""
    shown = ""
    async with asyncio.timeout(WAIT_SECONDS), log.subscribe(stream) as subscription:
        while shown != said:
            for delta in (await subscription.next()).deltas:
                shown = delta.text if delta.reset else shown + delta.text


def types(recorded: Sequence[Recorded]) -> list[str]:
    return [one.type for one in recorded]


def of_type(recorded: Sequence[Recorded], kind: str) -> list[dict[str, Any]]:
    return [msgspec.json.decode(one.payload) for one in recorded if one.type == kind]


def normal(recorded: Sequence[Recorded]) -> list[tuple[str, dict[str, Any]]]:
    """A run's events without ids, times and claims; parallel outcomes in the order of their steps."""
    rows = [
        (one.type, {k: v for k, v in msgspec.json.decode(one.payload).items() if k not in VOLATILE})
        for one in recorded
        if one.type != "run.claimed"
    ]
    return sorted(rows, key=_place)


def _place(row: tuple[str, dict[str, Any]]) -> tuple[int, int, int]:
    kind, payload = row
    if kind in TERMINAL_TYPES:
        return (3, 0, 0)
    if "step" in payload:
        return (1, payload["step"], 0 if kind.endswith("called") else 1)
    return (2 if kind in ("message.answered", "message.interrupted") else 0, 0, 0)


class Killed(BaseException):
    """The process is no more."""


class DyingLog:
    """A log whose process is killed at its n-th append: before it is written, or after, with nobody told."""

    def __init__(self, log: Log, appends: int, *, written: bool) -> None:
        self._log = log
        self._left = appends
        self._written = written
        self.dead = False
        self.died = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        if self.dead and name in ("claim", "renew", "release"):
            raise Killed
        return getattr(self._log, name)

    async def append(self, *arguments: Any, **options: Any) -> Any:
        if self.dead:
            raise Killed
        self._left -= 1
        if self._left > 0:
            return await self._log.append(*arguments, **options)
        self.dead = True
        if self._written:
            await self._log.append(*arguments, **options)
        self.died.set()
        raise Killed


async def run_killed(
    log: Log, model: Model, tools: Sequence[Tool], accepted: Accepted, kills: Sequence[DyingLog]
) -> int:
    """Bring the task to its end although each of these processes dies; returns how many really did."""
    died = 0
    for dying in (*kills, log):
        async with process(dying, model, tools) as p:  # type: ignore[arg-type]
            try:
                await p.runs.resume(accepted.task_id, accepted.stream)
            except Killed:
                died += 1
    return died


class StuckModel(ScriptedModel):
    """Says `text`, then waits for `go_on`. `reached` is set while it waits."""

    def __init__(self, text: str = "Half an answer", *rules: Rule) -> None:
        super().__init__(rules)
        self.text = text
        self.reached = asyncio.Event()
        self.go_on = asyncio.Event()
        self.stopped = 0

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        yield TextDelta(self.text)
        self.reached.set()
        try:
            await self.go_on.wait()
        except BaseException:
            self.stopped += 1
            raise
        async for event in super().stream(request):
            yield event


class FlakyLog:
    """A log that is away once, at its n-th append: before it is written, or after, with nobody told."""

    def __init__(self, log: Log, appends: int, *, written: bool) -> None:
        self._log = log
        self._left = appends
        self._written = written
        self.failed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    async def append(self, *arguments: Any, **options: Any) -> Any:
        self._left -= 1
        if self._left != 0:
            return await self._log.append(*arguments, **options)
        self.failed = True
        if self._written:
            await self._log.append(*arguments, **options)
        raise LogUnavailable("away", outcome_unknown=True)


class SlowLog:
    """A log whose appends of an event `type` wait for `go_on`. `reached` is set while one waits.

    It checks that answers are sealed before the append that closes them.
    """

    def __init__(self, log: Log, type: str = "") -> None:
        self._log = log
        self.type = type
        self.reached = asyncio.Event()
        self.go_on = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    async def append(self, stream: str, new: Sequence[NewEvent], **options: Any) -> Any:
        assert not {answer.answer_id for answer in self._log.live.of(stream)} & set(options.get("closes", ()))
        if any(event_type(event.payload) == self.type for event in new):
            self.reached.set()
            await self.go_on.wait()
        return await self._log.append(stream, new, **options)
