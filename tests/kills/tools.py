"""Tools whose effects are counted outside of the process: a line each in a file, on disk before the tool returns."""

import asyncio
import os
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import NamedTuple

import msgspec

from app.core.events import Effect as EffectClass
from app.gateway import scripted
from app.runs import effects as carried
from app.runs.ears import Ears
from app.runs.effects import EFFECT_UNKNOWN
from app.runs.record import Closed
from app.tools import ask_human, calculator
from app.tools.tool import Tool, ToolContext, ToolError, make_tool
from app.tools.toolbox import ToolBox

ONCE = frozenset({"pay", "send", "ship", "deliver"})
GATE = "gate"
"""In the script, instead of a file: the gate of the conversation whose run is answered."""
GATE_SECONDS_MAX = 60.0
POLL_SECONDS = 0.01


class Effect(NamedTuple):
    """Of a tool, for a call with this idempotency key and text."""

    name: str
    key: str
    text: str


class Text(msgspec.Struct, frozen=True):
    text: str = ""


class Effects:
    """What tools did: a line each in the file `effects/CONVERSATION` of a folder.

    A file `unknown/CONVERSATION` makes `once` tools say there what a run is told where nobody knows: so a run that was
    left alone shows how a killed one has to go on. A file `gates/CONVERSATION` opens the gate of that conversation.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for name in ("effects", "gates", "unknown"):
            (folder / name).mkdir(parents=True, exist_ok=True)

    def gate(self, conversation_id: str) -> Path:
        return self._folder / "gates" / conversation_id

    def open_gate(self, conversation_id: str) -> None:
        self.gate(conversation_id).touch()

    def is_open(self, conversation_id: str) -> bool:
        return self.gate(conversation_id).exists()

    def forget_outcomes(self, conversation_id: str) -> None:
        (self._folder / "unknown" / conversation_id).touch()

    def are_forgotten(self, conversation_id: str) -> bool:
        return (self._folder / "unknown" / conversation_id).exists()

    def happened(self, conversation_id: str) -> list[Effect]:
        file = self._folder / "effects" / conversation_id
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        return [Effect(*line.split("\t")) for line in lines]

    def happen(self, name: str, context: ToolContext, text: str) -> None:
        line = "\t".join((name, context.idempotency_key, text)) + "\n"
        file = self._folder / "effects" / context.conversation_id
        opened = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(opened, line.encode())
            os.fsync(opened)
        finally:
            os.close(opened)


def toolbox(effects: Effects, deadline_seconds: float) -> ToolBox:
    """Those of `ONCE` may not be repeated; `send` needs consent; `build`, `ship` and `grow` are long-running; `wait`,
    `listen`, `deliver` and `grow` return when the conversation's gate is open."""

    def counted(name: str, effect: EffectClass, **options: bool) -> Tool:
        async def call(arguments: Text, context: ToolContext) -> str:
            effects.happen(name, context, arguments.text)
            if name in ONCE and effects.are_forgotten(context.conversation_id):
                raise ToolError(EFFECT_UNKNOWN.format(name=name))
            return f"{name}: {arguments.text}"

        return make_tool(name, f"Does {name}.", Text, call, effect=effect, **options)

    tools = [
        calculator.tool(),
        ask_human.tool(deadline_seconds),
        counted("note", "idempotent"),
        counted("pay", "once"),
        counted("send", "once", confirm=True),
        counted("build", "idempotent", long_running=True),
        counted("ship", "once", long_running=True),
        waiting("wait", effects),
        waiting("listen", effects, ready=hears()),
        waiting("deliver", effects, effect="once"),
        waiting("grow", effects, long_running=True),
    ]
    return ToolBox(tools)


def waiting(
    name: str,
    effects: Effects,
    *,
    effect: EffectClass = "idempotent",
    ready: Callable[[ToolContext], bool] = lambda context: True,
    long_running: bool = False,
) -> Tool:
    """A tool that takes effect, and returns when the conversation's gate is open and `ready` holds."""

    async def call(arguments: Text, context: ToolContext) -> str:
        effects.happen(name, context, arguments.text)
        if name in ONCE and effects.are_forgotten(context.conversation_id):
            raise ToolError(EFFECT_UNKNOWN.format(name=name))
        async with asyncio.timeout(GATE_SECONDS_MAX):
            while not (effects.is_open(context.conversation_id) and ready(context)):  # noqa: ASYNC110
                await asyncio.sleep(POLL_SECONDS)
        return f"{name}: {arguments.text}"

    return make_tool(
        name,
        f"Does {name}.",
        Text,
        call,
        effect=effect,
        timeout_seconds=2 * GATE_SECONDS_MAX,
        long_running=long_running,
    )


def hears() -> Callable[[ToolContext], bool]:
    """Whether the run knows of a message that it has not heard yet: where it stands is not left to chance then."""
    ears: dict[str, Ears] = {}
    begin = Ears.__init__

    def remembered(self: Ears, *arguments: object) -> None:
        begin(self, *arguments)  # type: ignore[arg-type]
        ears[str(self._record.task_id)] = self

    Ears.__init__ = remembered  # type: ignore[method-assign]

    def ready(context: ToolContext) -> bool:
        known = ears.get(str(context.task_id))
        return known is not None and bool(known._said)

    return ready


def hold_answers(effects: Effects) -> None:
    """A scripted answer that waits for the file `gate` waits for the gate of the conversation that it is for."""
    conversation_id: ContextVar[str] = ContextVar("conversation_id")
    carry_out, wait = carried.Effects.carry_out, scripted.wait_for_file

    async def known(self: carried.Effects, one: carried.Numbered) -> Closed:
        conversation_id.set(self._conversation_id)
        return await carry_out(self, one)

    async def wait_for_gate(path: Path) -> None:
        await wait(effects.gate(conversation_id.get()) if path == Path(GATE) else path)

    carried.Effects.carry_out = known  # type: ignore[method-assign]
    scripted.wait_for_file = wait_for_gate
