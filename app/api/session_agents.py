"""The agents of this deployment, and what they have done for a user (wire contract, section 7)."""

from datetime import datetime

import msgspec
from litestar import Router, get

from app.api.portal import caught_up
from app.api.services import Services
from projections import agent_counts, reminders


class ShownAgent(msgspec.Struct, frozen=True):
    """`successful_runs` are the user's that this agent has completed, `schedules` the user's reminders with this agent
    that are still due. `model` None: the deployment's. `is_default`: it answers where none was asked for."""

    name: str
    description: str
    mode: str
    model: str | None
    is_default: bool
    successful_runs: int
    schedules: int
    last_run_at: datetime | None = None


@get("/agents", summary="The agents, with a user's completed runs and schedules of each")
async def list_agents(services: Services, owner: str) -> list[ShownAgent]:
    """The default agent first, then by name. What agents have done that are no longer there is not shown."""
    roster = services.conversations.roster
    await roster.refresh()
    await caught_up(services, "agent_counts", "reminders")
    counts = await agent_counts.by_owner(services.reads, owner)
    schedules = await reminders.schedules_by_agent(services.reads, owner)
    default = roster.agents.default.name
    return [
        ShownAgent(
            agent.name,
            agent.description,
            agent.mode,
            agent.model,
            agent.name == default,
            counts[agent.name].successful_runs if agent.name in counts else 0,
            schedules.get(agent.name, 0),
            counts[agent.name].last_run_at if agent.name in counts else None,
        )
        for agent in roster.agents.agents
    ]


agents_router = Router(path="/api/v1", route_handlers=[list_agents], tags=["agents"])
