"""The gateway to the models, and the agents, skills and experts of this deployment."""

from collections.abc import Collection, Iterator
from pathlib import Path

import structlog

from app.composition.tools import tool_names
from app.core.agent import DEFAULT_PROMPT, Agent
from app.core.events import RunLimits
from app.experts import library as experts_library
from app.experts.library import ExpertLibrary
from app.gateway.gateway import Access, Gateway, build_gateway
from app.runs.meetings import MeetingOptions, Meetings
from app.runs.roster import Roster
from app.settings import Settings
from app.skills import agent_files, library
from app.skills.agent_files import AgentLibrary
from app.skills.library import SkillLibrary
from app.skills.names import FROM_OUTSIDE, TOOLS, alike
from app.tools.toolbox import ToolBox

logger = structlog.get_logger(__name__)


def gateway_of(settings: Settings) -> Gateway:
    """Raises `ValueError` where a setting names no model, `LocalModelUnavailable` where it is not installed."""
    return build_gateway(
        settings.model,
        access={
            "openai": Access(settings.openai_base_url or None, settings.openai_api_key or None),
            "anthropic": Access(api_key=settings.anthropic_api_key or None),
        },
        recovery=settings.model_recovery,
        emergency=settings.model_emergency,
        retries=settings.model_retries,
        locale=settings.locale,
        timeout_seconds=settings.model_timeout_seconds,
        prices=[(price.model, price.prompt_usd, price.completion_usd) for price in settings.model_prices],
        local_max_tokens=settings.local_max_tokens,
    )


def roster_of(settings: Settings, toolbox: ToolBox) -> Roster:
    """The agents, skills and experts that ship, and those of the configured folders. Reads files."""
    default = Agent(
        settings.agent_name,
        settings.system_prompt or DEFAULT_PROMPT,
        limits=RunLimits(
            settings.max_steps,
            settings.run_timeout_seconds,
            settings.run_tokens_max or None,
            settings.run_cost_usd_max or None,
        ),
        max_history=settings.max_history,
        phases=settings.phases,
    )
    agents_dirs = [agent_files.SHIPPED, *([Path(settings.agents_dir)] if settings.agents_dir else [])]
    agents = AgentLibrary(agents_dirs, default=default, known_tools=toolbox.live_names)
    skills_dirs = [library.SHIPPED, *map(Path, settings.skills_dirs)]
    skills = SkillLibrary(skills_dirs, known_tools=toolbox.live_names)
    meetings = meetings_of(settings, skills)
    for notice in (*agents.notices, *skills.notices):
        logger.info("tools_missing", notice=notice)
    for notice in meetings.experts.notices:
        logger.info("experts_missing", notice=notice)
    for notice in (*meetings.notices, *_phase_notices(settings, toolbox.live_names)):
        logger.warning("setting_names_nothing", notice=notice)
    return Roster(toolbox, agents, skills, meetings, locale=settings.locale)


def notices_of(settings: Settings) -> tuple[str, ...]:
    """One sentence for each expert and tool that a setting names and that is not there. Reads files."""
    names = tool_names(settings)
    skills = SkillLibrary([library.SHIPPED, *map(Path, settings.skills_dirs)], known_tools=names)
    return (*meetings_of(settings, skills).notices, *_phase_notices(settings, names))


def _phase_notices(settings: Settings, names: Collection[str]) -> Iterator[str]:
    """Tools of an MCP server come when it is there, so only its name is looked at."""
    served = tuple(f"{FROM_OUTSIDE}{server.name}__" for server in settings.mcp_servers)
    for phase in settings.phases:
        for name in phase.tools or ():
            if name in names or name.startswith(served):
                continue
            unknown = f"but there is no such tool{alike(name, TOOLS.union(names))}"
            wrong = "which is not enabled in this deployment" if name in TOOLS else unknown
            yield f"phases: {phase.name!r} names the tool {name!r}, {wrong}"


def meetings_of(settings: Settings, skills: SkillLibrary) -> Meetings:
    """The experts that ship and those of the configured folder, and who sits where nobody is named. Reads files."""
    folders = [experts_library.SHIPPED, *([Path(settings.experts_dir)] if settings.experts_dir else [])]
    experts = ExpertLibrary(folders, known_skills=lambda: skills.names)
    options = MeetingOptions(
        settings.default_board,
        settings.default_team,
        settings.board_rounds,
        settings.meeting_timeout_seconds,
    )
    return Meetings(experts, skills, options)
