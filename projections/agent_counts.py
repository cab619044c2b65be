"""How many runs of an owner each agent has completed. One row an owner and agent.

A run counts when its answer is in the log; the runs that another run has started (a team's members, operations) have
none. What was counted stays counted when its conversation is deleted.
"""

from datetime import datetime

import msgspec
from psycopg_pool import AsyncConnectionPool

from app.core.envelope import Recorded
from app.core.events import Event, MessageAnswered
from projections.projection import Key, Projection, conversation_key, event_types, owned_by
from projections.tables import fetch_rows

AGENT = "agent:"

DDL = """
CREATE TABLE IF NOT EXISTS agent_counts (
    owner text NOT NULL,
    agent_name text NOT NULL,
    successful_runs bigint NOT NULL,
    last_run_at timestamptz NOT NULL,
    PRIMARY KEY (owner, agent_name)
) WITH (fillfactor = 50);
"""


class AgentCount(msgspec.Struct, frozen=True, gc=False):
    """`last_run_at`: when the last of them was completed."""

    owner: str
    agent_name: str
    successful_runs: int
    last_run_at: datetime


def key_of(recorded: Recorded, event: Event) -> Key | None:
    conversation = conversation_key(recorded.stream)
    if conversation is None or recorded.task_id is None or not recorded.actor.startswith(AGENT):
        return None
    return conversation.owner, recorded.actor.removeprefix(AGENT)


def apply(row: AgentCount | None, recorded: Recorded, event: Event) -> AgentCount | None:
    if row is not None:
        runs = row.successful_runs + 1
        return msgspec.structs.replace(row, successful_runs=runs, last_run_at=recorded.recorded_at)
    owner, _ = owned_by(recorded)
    return AgentCount(owner, recorded.actor.removeprefix(AGENT), 1, recorded.recorded_at)


PROJECTION = Projection(
    name="agent_counts",
    version=1,
    row=AgentCount,
    ddl=DDL,
    key=("owner", "agent_name"),
    handles=event_types(MessageAnswered),
    key_of=key_of,
    apply=apply,
)


async def by_owner(pool: AsyncConnectionPool, owner: str) -> dict[str, AgentCount]:
    """By the agent's name; agents that have completed nothing are missing."""
    found = await fetch_rows(pool, AgentCount, "SELECT * FROM agent_counts WHERE owner = %s", (owner,))
    return {row.agent_name: row for row in found}
