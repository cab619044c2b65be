"""The rows of the tasks, and what readers ask of them: one, a list, and those that have not ended."""

from collections.abc import Collection
from datetime import datetime
from typing import Any, Literal, NamedTuple, get_args
from uuid import UUID

import msgspec
from psycopg_pool import AsyncConnectionPool

from app.core import streams
from app.core.messages import Usage
from projections import page_cursors
from projections.page_cursors import InvalidPageCursor
from projections.past import Source
from projections.tables import fetch_rows

Status = Literal["pending", "running", "waiting", "completed", "failed", "cancelled"]
STATES: tuple[Status, ...] = get_args(Status)
LIST_MAX = 500
OPEN_TASKS_MAX = 10_000
CURSOR_CHARS_MAX = 200
PRESENT = Source("tasks")


class Cursor(NamedTuple):
    """Where a page of the list ended."""

    created_at: datetime
    task_id: UUID

    def __str__(self) -> str:
        return page_cursors.encoded(self.created_at, self.task_id)


class TaskInput(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """`given`: the `input_data` of the client where it was more than a message; then `message` is what was made of it
    for the agent."""

    message: str
    message_id: str
    sources: tuple[str, ...] = ()
    given: dict[str, Any] = {}


class TaskOutput(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """`partial`: what there was of the answer when the run ended without one."""

    message: str
    message_id: str
    fallback: bool = False
    partial: bool = False


class TaskMetadata(msgspec.Struct, frozen=True, gc=False):
    """`steps`, `tool_calls`, `usage` and `cost_usd` count as far as they are known; the terminal event knows better.

    `parent` is the task that started this one, `merged_into` the one that heard its message. `waits_for` are the ids of
    the questions and confirmations that are open. `cost_usd` None: no price is configured. `rounds` are those of a
    board, `phases` the states of a team's phases by their ids, or of those of `plan_exec` by their names, `plan_steps`
    those of a plan of `rewoo` with its answer.
    """

    mode: str
    method: str
    confidence: float
    model: str | None
    max_steps: int
    steps: int = 0
    tool_calls: int = 0
    usage: Usage = Usage()
    duration_ms: int = 0
    error_class: str | None = None
    cancelled_by: str | None = None
    cost_usd: float | None = None
    parent: str | None = None
    merged_into: str | None = None
    waits_for: tuple[str, ...] = ()
    phase: str | None = None
    rounds: int = 0
    rounds_held: int = 0
    phases: dict[str, str] = {}
    plan_steps: int = 0
    plan_steps_begun: int = 0


class Task(msgspec.Struct, frozen=True, gc=False):
    """`progress` goes from 0 to 1; it is 1 when the task has completed and at most 0.95 before. `metadata` is what the
    service knows of the run, `client_metadata` what the client gave with it."""

    task_id: UUID
    owner: str
    conversation_id: str
    agent_name: str
    skill_name: str | None
    status: Status
    input_data: TaskInput
    metadata: TaskMetadata
    created_at: datetime
    first_offset: int
    last_offset: int
    output_data: TaskOutput | None = None
    error_message: str | None = None
    progress: float = 0.0
    progress_message: str | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    client_metadata: dict[str, Any] = {}

    @property
    def stream(self) -> str:
        return streams.conversation(self.owner, self.conversation_id)

    @property
    def cursor(self) -> Cursor:
        """The list's next page starts behind this."""
        return Cursor(self.created_at, self.task_id)

    @property
    def is_open(self) -> bool:
        """Whether it has not ended."""
        return self.completed_at is None


class OpenTask(msgspec.Struct, frozen=True):
    """A task that has not ended, as far as the view knows: pending, running, or waiting for a person."""

    task_id: UUID
    owner: str
    conversation_id: str
    created_at: datetime

    @property
    def stream(self) -> str:
        return streams.conversation(self.owner, self.conversation_id)


class _First(msgspec.Struct, frozen=True):
    first_offset: int | None


def parse_cursor(text: str) -> Cursor:
    """The cursor whose `str` this is. Raises `InvalidPageCursor`."""
    created_at, task_id = page_cursors.decoded(text, chars_max=CURSOR_CHARS_MAX)
    try:
        return Cursor(created_at, UUID(task_id))
    except ValueError:
        raise InvalidPageCursor(text) from None


async def get(pool: AsyncConnectionPool, task_id: UUID, *, owner: str | None = None) -> Task | None:
    """None if there is no such task, or if it is not this owner's (`owner` None: anybody's)."""
    found = await fetch_rows(
        pool,
        Task,
        "SELECT * FROM tasks WHERE task_id = %s AND owner = coalesce(%s, owner)",
        (task_id, owner),
    )
    return found[0] if found else None


async def list_by_owner(
    pool: AsyncConnectionPool,
    owner: str,
    *,
    status: Status | Collection[Status] | None = None,
    agent_name: str | None = None,
    conversation_id: str | None = None,
    limit: int = 50,
    before: Cursor | None = None,
    source: Source = PRESENT,
) -> list[Task]:
    """Newest first, at most 500; the next page is `before` the last one's `cursor`. `status`: one, or any of several;
    none of them means all. With a `source` they are those of a moment of the past (`past_reads.py`)."""
    where, arguments = ["owner = %s"], [*source.arguments, owner]
    wanted_states = [status] if isinstance(status, str) else list(status or ())
    if len(wanted_states) > 1:
        where.append("status = ANY(%s)")
        arguments.append(wanted_states)
    for column, wanted in (
        ("status", wanted_states[0] if len(wanted_states) == 1 else None),
        ("agent_name", agent_name),
        ("conversation_id", conversation_id),
    ):
        if wanted is not None:
            where.append(f"{column} = %s")
            arguments.append(wanted)
    if before is not None:
        where.append("(created_at, task_id) < (%s, %s)")
        arguments += before
    return await fetch_rows(
        pool,
        Task,
        f"SELECT * FROM {source.sql} WHERE {' AND '.join(where)} {source.where} "  # noqa: S608 (constants)
        "ORDER BY created_at DESC, task_id DESC LIMIT %s",
        (*arguments, max(0, min(limit, LIST_MAX))),
    )


async def open_tasks(pool: AsyncConnectionPool, *, limit: int = 1000) -> list[OpenTask]:
    """Whoever's tasks that have not ended, oldest first, at most 10 000; of a rebuilt view only those seen so far."""
    return await fetch_rows(
        pool,
        OpenTask,
        "SELECT task_id, owner, conversation_id, created_at FROM tasks "
        "WHERE status IN ('pending', 'running', 'waiting') ORDER BY created_at, task_id LIMIT %s",
        (max(0, min(limit, OPEN_TASKS_MAX)),),
    )


async def first_offset_behind(
    pool: AsyncConnectionPool, owner: str, conversation_id: str, *, after: int
) -> int | None:
    """Where the first of the tasks begins that are open or have said something behind `after`; None: there is none."""
    found = await fetch_rows(
        pool,
        _First,
        "SELECT min(first_offset) AS first_offset FROM tasks WHERE owner = %s AND conversation_id = %s "
        "AND (last_offset > %s OR status IN ('pending', 'running', 'waiting'))",
        (owner, conversation_id, after),
    )
    return found[0].first_offset if found else None


async def open_operations(pool: AsyncConnectionPool, owner: str, conversation_id: str) -> list[Task]:
    """The long-running tools of a conversation that are still at work, oldest first."""
    return await fetch_rows(
        pool,
        Task,
        "SELECT * FROM tasks WHERE owner = %s AND conversation_id = %s AND metadata ->> 'mode' = 'operation' "
        "AND status IN ('pending', 'running', 'waiting') ORDER BY created_at, task_id",
        (owner, conversation_id),
    )
