"""Agents by file: `NAME.toml` with a prompt, a model, tools, a mode, limits and phases."""

import os
import re
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from app.agents.modes import modes_in_files
from app.agents.routing import name_key, nearest_first
from app.core.agent import Agent
from app.core.events import PhasePolicy, RunLimits
from app.core.lessons import LESSONS_MAX
from app.skills.fields import BadFile, Fields, read_toml
from app.skills.names import Tools
from app.skills.shelf import Place, Shelf

SHIPPED = Path(__file__).parent / "agents"
SUFFIX = ".toml"
EXAMPLE = 'system_prompt = "You are a careful analyst."'
PROMPT_CHARS_MAX = 256 * 1024
DESCRIPTION_CHARS_MAX = 1_024
PHASES_MAX = 20
FIELDS = (
    "name",
    "description",
    "system_prompt",
    "model",
    "tools",
    "mode",
    "limits",
    "max_history",
    "phases",
    "lessons",
)
LIMITS = ("max_steps", "timeout_seconds", "tokens_max", "cost_usd_max")
_NAME = re.compile(r"\w[\w-]{0,63}")


class AgentLibrary:
    """The default agent, and those of the folders; an agent of a later folder beats one of an earlier by its name.

    What a file leaves out is as in `default`, which a file of its name may replace. Otherwise as `SkillLibrary`.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        *,
        default: Agent,
        known_tools: Collection[str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tools = tools = Tools(known_tools)

        def read(place: Place, data: bytes) -> Agent:
            return parse_agent(place.file, data, default=default, tools=tools)

        self._default = default
        self._shelf = Shelf("agent", folders, agent_files, read, clock=clock)

    async def refresh(self) -> None:
        """Notice what has changed. Never raises; see `Shelf.refresh`."""
        await self._shelf.refresh()

    @property
    def default(self) -> Agent:
        """Who answers where nobody else was asked for."""
        return self._shelf.find(self._default.name) or self._default

    @property
    def agents(self) -> tuple[Agent, ...]:
        """The default first, the others in the order of their names."""
        first = self.default
        return (first, *(agent for agent in self._shelf.items if agent is not first))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(agent.name for agent in self.agents)

    @property
    def problems(self) -> tuple[str, ...]:
        """One sentence for each file or folder that cannot be used as it is now."""
        return self._shelf.problems

    @property
    def notices(self) -> tuple[str, ...]:
        """One sentence for each agent that names tools which are not there now. It works without them."""
        return self._tools.notices("agent", ((agent.name, agent.tools) for agent in self._shelf.items))

    def find(self, name: str) -> Agent | None:
        """The agent of that name, in whatever case."""
        if name_key(name) == name_key(self._default.name):
            return self.default
        return self._shelf.find(name)

    def suggest(self, name: str) -> tuple[str, ...]:
        """All names, those most like this one first."""
        return nearest_first(name, self.names)


def agent_files(folder: Path) -> Iterator[Place]:
    """The folder's TOML files. Names that begin with `.` or `_` are nobody's. Raises `OSError`."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(SUFFIX) and not entry.name.startswith((".", "_")):
                yield Place(entry.name.removesuffix(SUFFIX), folder / entry.name)


def parse_agent(file: Path, data: bytes, *, default: Agent, tools: Tools) -> Agent:
    """The agent of this file; it may name tools that are not there (now). Raises `BadFile`."""
    fields = Fields(file, read_toml(file, data, example=EXAMPLE))
    fields.only(FIELDS)
    named = fields.tools("tools", tools, example='tools = ["calculator", "read_upload"]')
    return Agent(
        _name(fields),
        fields.text(
            "system_prompt",
            PROMPT_CHARS_MAX,
            default=default.system_prompt,
            example=EXAMPLE,
        ),
        default.tools if named is None else named,
        _limits(fields, default.limits),
        fields.whole("max_history", 2, 1_000, default=default.max_history),
        fields.choice("mode", modes_in_files(), default=default.mode, example='mode = "plan_exec"'),
        fields.text("model", 200, default=default.model or "", example='model = "gpt-4o-mini"') or None,
        _phases(fields, tools) or default.phases,
        fields.text(
            "description", DESCRIPTION_CHARS_MAX, default="", example='description = "Works with numbers."'
        ),
        fields.whole("lessons", 0, LESSONS_MAX, default=default.lessons),
    )


def _name(fields: Fields) -> str:
    stem = fields.file.name.removesuffix(SUFFIX)
    name = fields.text("name", 64, default=stem, example=f'name = "{stem}"')
    if name != stem:
        raise fields.bad("name", f"the name of its file, {stem!r}", example=f'name = "{stem}"')
    if not _NAME.fullmatch(name):
        raise BadFile(
            fields.file, "its name has to be 1-64 letters, digits, '_' or '-'.", example="analyst.toml"
        )
    return name


def _limits(fields: Fields, default: RunLimits) -> RunLimits:
    """The ranges are those of the settings; 0 tokens or 0 dollars is no limit."""
    limits = fields.table("limits", example="[limits]\\nmax_steps = 12")
    limits.only(LIMITS)
    return RunLimits(
        limits.whole("max_steps", 1, 100, default=default.max_steps),
        limits.number("timeout_seconds", 0.001, 86_400, default=default.timeout_seconds),
        limits.whole("tokens_max", 0, 10**12, default=default.tokens_max or 0) or None,
        limits.number("cost_usd_max", 0, 10**6, default=default.cost_usd_max or 0) or None,
    )


def _phases(fields: Fields, known: Tools) -> tuple[PhasePolicy, ...]:
    example = '[[phases]]\\nname = "explore"\\ntools = ["search"]'
    phases: list[PhasePolicy] = []
    for phase in fields.tables("phases", PHASES_MAX, example=example):
        phase.only(("name", "tools", "instruction"))
        name = phase.text("name", 64, example=example)
        if name in (other.name for other in phases):
            raise phase.bad("name", "a name that no other phase has", example=example)
        tools = phase.tools("tools", known, example=example)
        instruction = phase.text("instruction", PROMPT_CHARS_MAX, default="", example=example)
        phases.append(PhasePolicy(name, tools, instruction))
    return tuple(phases)
