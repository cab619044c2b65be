"""Who sits on a board or in a team: the experts of a command, resolved to cards that the task then records."""

from collections.abc import Iterable, Sequence

import msgspec

from app.agents.routing import MeetingCommand, RouteError
from app.core.agent import Agent
from app.core.events import ExpertCard, RunLimits
from app.core.messages import storable
from app.core.texts import Locale, text
from app.experts.expert import Expert
from app.experts.library import ExpertLibrary
from app.runs.refused import Refused
from app.skills.library import SkillLibrary
from app.skills.names import alike
from app.skills.skill import with_skill

DEFAULT_BOARD = ("moderator", "strategist", "engineer", "finance-expert", "skeptic")
DEFAULT_TEAM = ("product-manager", "researcher", "engineer", "writer")
BOARD_ROUNDS = 5
TIMEOUT_SECONDS = 1_800.0
STEPS_MAX = 1_000
NAMES_SHOWN_MAX = 20
NAME_CHARS_SHOWN = 20
UNKNOWN_SHOWN_MAX = 2
"""So that the right form stands within the 200 characters that sockets show of an error."""


class MeetingRefused(Refused):
    """The command calls no meeting: nothing to talk about, nobody to talk, or rounds that cannot be. The sentence shows
    the right form."""

    key = "meeting_no_topic"

    def __init__(self, error: RouteError) -> None:
        self.error = error
        super().__init__(**error.values)

    def sentence(self, locale: Locale) -> str:
        values = {name: storable(value) for name, value in self.error.values.items()}
        form = text(f"form_{values['word']}", locale)
        return text(self.error.key, locale, form=form, **values)


class MeetingOptions(msgspec.Struct, frozen=True):
    """Who sits where nobody is named (the first of a team leads), for how many rounds and for how many seconds."""

    board: tuple[str, ...] = DEFAULT_BOARD
    team: tuple[str, ...] = DEFAULT_TEAM
    rounds: int = BOARD_ROUNDS
    timeout_seconds: float = TIMEOUT_SECONDS


class Seated(msgspec.Struct, frozen=True):
    """The experts of a meeting, its moderator or lead first."""

    experts: tuple[ExpertCard, ...]
    rounds: int


class Meetings:
    """Looks only at what the libraries have loaded: refresh them before."""

    def __init__(
        self, experts: ExpertLibrary, skills: SkillLibrary, options: MeetingOptions | None = None
    ) -> None:
        self.experts = experts
        self.options = options or MeetingOptions()
        self._skills = skills

    @property
    def notices(self) -> tuple[str, ...]:
        """One sentence for each default expert that is not there now. Meetings are held without them."""
        return tuple(
            f"{setting} names {name!r}, but there is no such expert{alike(name, self.experts.ids)}"
            for setting, names in (("default_board", self.options.board), ("default_team", self.options.team))
            for name in self._missing(names)
        )

    def seat(self, command: MeetingCommand, agent: Agent, tools: Sequence[str], locale: Locale) -> Seated:
        """`tools` are those of the deployment. Raises `MeetingRefused`."""
        if command.word == "board":
            experts, rounds = self._board(command), command.rounds or self.options.rounds
        else:
            experts, rounds = self._named(command) or self._defaults(command), 0
        allowed = [name for name in tools if agent.tools is None or name in agent.tools]
        return Seated(tuple(self._card(expert, allowed, locale) for expert in experts), rounds)

    def limits(self, agent: Agent) -> RunLimits:
        """A meeting has a time of its own; tokens and cost are limited as those of any run of the agent."""
        return RunLimits(
            STEPS_MAX, self.options.timeout_seconds, agent.limits.tokens_max, agent.limits.cost_usd_max
        )

    def _board(self, command: MeetingCommand) -> tuple[Expert, ...]:
        """Exactly one moderates: the first named who can, else the default board's, else anybody who can."""
        named = self._named(command) or self._defaults(command)
        moderator = next((expert for expert in named if expert.is_moderator), None) or self._moderator()
        if moderator is None:
            moderator = msgspec.structs.replace(named[0], is_moderator=True)
        others = [
            msgspec.structs.replace(expert, is_moderator=False)
            for expert in named
            if expert.id != moderator.id
        ]
        if not others and not command.names and self._missing(self.options.board):
            raise self._without_defaults(command)
        if not others:
            raise MeetingRefused(RouteError("meeting_no_speaker", {"word": command.word}))
        return moderator, *others

    def _moderator(self) -> Expert | None:
        defaults = self._found(self.options.board)
        return next((expert for expert in (*defaults, *self.experts.experts) if expert.is_moderator), None)

    def _named(self, command: MeetingCommand) -> tuple[Expert, ...]:
        """Raises `MeetingRefused` where one of them is nobody, with what was probably meant."""
        unknown = self._missing(command.names)[:UNKNOWN_SHOWN_MAX]
        if not unknown:
            return self._found(command.names)
        near = [near for name in unknown if (near := self.experts.near(name)) is not None]
        values = {
            "word": command.word,
            "names": _shown(unknown),
            "known": self._known(unknown[0]),
        }
        if near:
            raise MeetingRefused(RouteError("meeting_no_expert_near", values | {"near": _listed(near)}))
        raise MeetingRefused(RouteError("meeting_no_expert", values))

    def _defaults(self, command: MeetingCommand) -> tuple[Expert, ...]:
        found = self._found(self._setting(command)[1])
        if not found:
            raise self._without_defaults(command)
        return found

    def _setting(self, command: MeetingCommand) -> tuple[str, tuple[str, ...]]:
        """Who sits where nobody is named, with the name of the setting that says so."""
        if command.word == "board":
            return "default_board", self.options.board
        return "default_team", self.options.team

    def _without_defaults(self, command: MeetingCommand) -> MeetingRefused:
        setting, names = self._setting(command)
        unknown = self._missing(names)[:UNKNOWN_SHOWN_MAX]
        values = {
            "word": command.word,
            "setting": setting,
            "names": _shown(unknown),
            "known": self._known(unknown[0]),
        }
        return MeetingRefused(RouteError("meeting_nobody", values))

    def _missing(self, names: Iterable[str]) -> list[str]:
        return [name for name in names if self.experts.find(name) is None]

    def _found(self, names: Iterable[str]) -> tuple[Expert, ...]:
        """Each of them once, in their order."""
        found = (self.experts.find(name) for name in names)
        return tuple({expert.id: expert for expert in found if expert is not None}.values())

    def _known(self, name: str) -> str:
        return ", ".join(self.experts.suggest(name)[:NAMES_SHOWN_MAX]) or "-"

    def _card(self, expert: Expert, allowed: Sequence[str], locale: Locale) -> ExpertCard:
        """With what the expert's skills say, and the tools that one of them and the agent may use."""
        skills = [skill for name in expert.skills if (skill := self._skills.find(name)) is not None]
        said = [with_skill(Agent(system_prompt=""), skill, ()).system_prompt for skill in skills]
        tools = allowed
        if skills and all(skill.tools is not None for skill in skills):
            tools = [name for name in allowed if any(name in (skill.tools or ()) for skill in skills)]
        return expert.card(locale, skill_prompt="\n\n".join(said), tools=tools)


def _shown(names: Iterable[str]) -> str:
    return _listed(repr(name[:NAME_CHARS_SHOWN]) for name in names)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(names))
