"""Who answers a message, and with what: agents, skills, tools and limits, as the task then records them."""

from collections.abc import Sequence

import msgspec

from app.agents.modes import MODES, modes_on_request
from app.agents.plan_exec import default_phases
from app.agents.routing import MODE_OF, MeetingCommand, Route, RouteError, route, to_meeting, to_skill
from app.core.agent import Agent
from app.core.events import MessageReceived, RunRequested, ToolRef
from app.core.messages import storable
from app.core.texts import Locale
from app.experts.library import ExpertLibrary
from app.runs import refused
from app.runs.meetings import MeetingOptions, MeetingRefused, Meetings, Seated
from app.skills.agent_files import AgentLibrary
from app.skills.library import SkillLibrary
from app.skills.skill import with_skill
from app.tools.toolbox import ToolBox


class Chosen(msgspec.Struct, frozen=True):
    """Who answers. `agent` is the agent as it works here: with the skill, if there is one. `seated`: the experts of a
    board or team."""

    agent: Agent
    route: Route
    seated: Seated | None = None


class Roster:
    """The agents, skills and experts of this deployment. Looks at their files again as they change."""

    def __init__(
        self,
        toolbox: ToolBox,
        agents: AgentLibrary,
        skills: SkillLibrary,
        meetings: Meetings,
        *,
        locale: Locale,
    ) -> None:
        self.toolbox = toolbox
        self.agents = agents
        self.skills = skills
        self.meetings = meetings
        self._locale: Locale = locale

    async def refresh(self) -> None:
        """Notice files that have changed. Never raises."""
        await self.agents.refresh()
        await self.skills.refresh()
        await self.meetings.experts.refresh()

    def find_agent(self, name: str | None) -> Agent:
        """Raises `AgentUnknown`; the default agent for None."""
        if name is None:
            return self.agents.default
        agent = self.agents.find(name)
        if agent is None:
            raise refused.AgentUnknown(
                name=storable(name)[:80], known=", ".join(self.agents.suggest(name)[:20])
            )
        return agent

    def choose(
        self, content: str, *, agent_name: str | None, skill_name: str | None, mode: str | None
    ) -> Chosen:
        """Raises `AgentUnknown`, `SkillUnknown`, `ModeMissing`, `MeetingRefused`. A `mode` that was asked for beats all
        but prefixes."""
        agent = self.find_agent(agent_name)
        chosen = self._route(content, agent, skill_name, mode)
        match chosen.error:
            case RouteError(key="no_skill", values=values):
                raise refused.SkillUnknown(**values)
            case RouteError() as error:
                raise MeetingRefused(error)
            case None:
                pass
        if chosen.mode not in (known := modes_on_request()):
            raise refused.ModeMissing(mode=storable(chosen.mode)[:80], known=", ".join(known))
        if chosen.meeting is not None:
            seated = self.meetings.seat(chosen.meeting, agent, self.toolbox.names, self._locale)
            return Chosen(agent, chosen, seated)
        if chosen.method in ("prefix", "explicit") and (skill := self.skills.find(chosen.skill)) is not None:
            agent = with_skill(agent, skill, self.toolbox.names)
        return Chosen(agent, chosen)

    def _route(self, content: str, agent: Agent, skill_name: str | None, mode: str | None) -> Route:
        skills = self.skills.choices
        if skill_name and skill_name != agent.name:
            return to_skill(storable(skill_name), content, method="explicit", skills=skills)
        found = route(content, agent=agent.name, mode=agent.mode, skills=skills)
        if mode is None or found.method == "prefix":
            return found
        word = next((word for word, other in MODE_OF.items() if other == mode), None)
        if word is not None:
            meeting = MeetingCommand(word, topic=content.strip())
            return to_meeting(meeting, agent=agent.name, method="requested")
        return Route(mode, agent.name, "requested", 1.0, content)

    def requested(self, received: MessageReceived, chosen: Chosen, model: str | None) -> RunRequested:
        """The task, with everything that its replay needs."""
        agent, found, seated = chosen.agent, chosen.route, chosen.seated
        mode = MODES[found.mode]
        refs = self._refs(agent.tools) if mode.uses_tools else ()
        phases = (agent.phases or default_phases(refs)) if found.mode == "plan_exec" else ()
        return RunRequested(
            received.message_id,
            found.message,
            agent.name,
            found.mode,
            mode.version,
            skill=found.skill if found.skill != agent.name else None,
            method=found.method,
            confidence=found.confidence,
            model=(model and storable(model)) or agent.model,
            system_prompt=agent.system_prompt,
            tools=refs,
            limits=agent.limits if seated is None else self.meetings.limits(agent),
            max_history=agent.max_history,
            sources=received.sources,
            locale=self._locale,
            phases=phases,
            experts=() if seated is None else seated.experts,
            rounds=0 if seated is None else seated.rounds,
        )

    def _refs(self, names: Sequence[str] | None) -> tuple[ToolRef, ...]:
        """Of the tools that are there now; an agent may name some that are not enabled."""
        there = self.toolbox.names
        return self.toolbox.refs(there if names is None else [name for name in names if name in there])


def plain_roster(
    toolbox: ToolBox,
    agent: Agent | None = None,
    *,
    locale: Locale = "en",
    experts: ExpertLibrary | None = None,
    meeting: MeetingOptions | None = None,
) -> Roster:
    """One agent, no files but those of `experts`."""
    names = toolbox.names
    agents = AgentLibrary((), default=agent or Agent(), known_tools=names)
    skills = SkillLibrary((), known_tools=names)
    meetings = Meetings(experts or ExpertLibrary(()), skills, meeting)
    return Roster(toolbox, agents, skills, meetings, locale=locale)
