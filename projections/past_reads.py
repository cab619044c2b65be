"""Conversations, their messages and their tasks as they were at a moment.

A conversation's own row changes at nearly every event, so its history is kept: one state in `HISTORY_EVENTS` offsets
(`conversations.HISTORY`). What is between two of them is folded again, at most that many events.
"""

from collections.abc import Collection
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec
from psycopg_pool import AsyncConnectionPool

from app.core.events import SessionOpened
from app.core.streams import ConversationKey
from projections import conversations, tasks, transcript
from projections.conversations import HISTORY, Conversation
from projections.moments import Moment
from projections.past import Rows, Source, View, fold_between, fold_life, last_deletion, read_at
from projections.projection import Key
from projections.reads import read_one
from projections.tables import fetch_rows
from projections.transcript_reads import SHOWN_ROLES, TASK_KEY_CHARS

if TYPE_CHECKING:
    from projections.tasks import Cursor, Status, Task
    from projections.transcript import Message, Page


class _Kept(msgspec.Struct, frozen=True):
    """A state of a row: as it was at offset `until`."""

    until: int
    row: Conversation


class _Known(msgspec.Struct, frozen=True):
    """A conversation now, and the states that are kept of it, next to the moment: the last one before it, and the first
    one that is not."""

    live: Conversation | None
    before: _Kept | None
    behind: _Kept | None


_PLACE = b"""
SELECT owner, conversation_id FROM tasks WHERE task_id = %s AND owner = coalesce(%s, owner)
UNION ALL
SELECT owner, conversation_id FROM experiences WHERE id = %s AND owner = coalesce(%s, owner)
LIMIT 1
"""
_FIRST = b"SELECT first_offset FROM conversations WHERE owner = %s AND conversation_id = %s"
_OPENED = b"""
SELECT payload::text FROM events
WHERE stream_id = (SELECT id FROM streams WHERE name = %s)
  AND stream_offset > %s AND stream_offset <= %s AND type = 'session.opened'
ORDER BY stream_offset LIMIT 1
"""
_KEPT = f"SELECT until, row FROM {HISTORY.name} WHERE owner = %s AND conversation_id = %s"  # noqa: S608
# One statement: its rows fit one another whatever is folded meanwhile.
_KNOWN = f"""
SELECT (SELECT row_to_json(c) FROM conversations c WHERE owner = %s AND conversation_id = %s) AS live,
       (SELECT row_to_json(k) FROM ({_KEPT} AND until < %s ORDER BY until DESC LIMIT 1) k) AS before,
       (SELECT row_to_json(k) FROM ({_KEPT} AND until >= %s ORDER BY until LIMIT 1) k) AS behind
"""  # noqa: S608


async def conversation_at(pool: AsyncConnectionPool, moment: Moment) -> Conversation | None:
    """None if it was not there then. `conversations` has to stand at `moment.head` or behind it. Raises
    `ViewsUnavailable`, `PastUnfoldable`."""
    owner_and_id = (moment.owner, moment.conversation_id)
    arguments = (*owner_and_id, *owner_and_id, moment.offset, *owner_and_id, moment.offset)
    (known,) = await fetch_rows(pool, _Known, _KNOWN, arguments)
    if known.live is None or known.live.first_offset > moment.offset:
        rows = await fold_life(pool, conversations.PROJECTION, moment)
        return rows.get(owner_and_id)
    for state in (known.live, known.behind and known.behind.row):
        if state is not None and state.head <= moment.offset:
            return state
    # Both states around the moment are of one stretch of the history, or the later one would have been the answer.
    after = known.live.first_offset - 1 if known.before is None else known.before.until
    before = {} if known.before is None else {owner_and_id: known.before.row}
    rows = await fold_between(
        pool, conversations.PROJECTION, moment.stream, after, moment.offset, rows=before
    )
    return rows.get(owner_and_id)


def _task_of_message(key: str) -> UUID | None:
    return UUID(key[len("task/") : TASK_KEY_CHARS]) if key.startswith("task/") else None


def _with_meetings(rows: Rows) -> Rows:
    """Without messages of meetings whose task is forgotten: they are not shown."""
    return {key: row for key, row in rows.items() if not _is_said(key[-1]) or _meeting_of(key) in rows}


def _is_said(message_key: str) -> bool:
    return message_key.startswith("task/") and len(message_key) > TASK_KEY_CHARS


def _meeting_of(key: Key) -> Key:
    return (*key[:-1], key[-1][:TASK_KEY_CHARS])


MESSAGES = View(
    transcript.PROJECTION,
    lambda moment, key: (moment.owner, moment.conversation_id, key),
    _task_of_message,
    _with_meetings,
)
TASKS = View(tasks.PROJECTION, lambda moment, key: (UUID(key),), UUID)


async def page_at(
    pool: AsyncConnectionPool,
    moment: Moment,
    *,
    limit: int = 50,
    before: int | None = None,
    roles: tuple[str, ...] = SHOWN_ROLES,
) -> "Page":
    """As `transcript.page`. `transcript` and `conversations` have to stand at `moment.head` or behind it. `head` is the
    moment's offset: nothing that happened up to there is missing."""

    async def read(source: Source) -> "Page":
        return await transcript.page(
            pool,
            moment.owner,
            moment.conversation_id,
            limit=limit,
            before=before,
            roles=roles,
            source=source,
        )

    return await read_at(pool, MESSAGES, moment, read)


async def listed_at(
    pool: AsyncConnectionPool, moment: Moment, *, limit: int = 50, offset: int = 0
) -> "list[Message]":
    """As `transcript.listed`."""

    async def read(source: Source) -> "list[Message]":
        owner, conversation_id = moment.owner, moment.conversation_id
        return await transcript.listed(
            pool, owner, conversation_id, limit=limit, offset=offset, source=source
        )

    return await read_at(pool, MESSAGES, moment, read)


async def tasks_at(
    pool: AsyncConnectionPool,
    moment: Moment,
    *,
    status: "Status | Collection[Status] | None" = None,
    agent_name: str | None = None,
    limit: int = 50,
    before: "Cursor | None" = None,
) -> "list[Task]":
    """As `tasks.list_by_owner`, of one conversation. `status` is that of then."""

    async def read(source: Source) -> "list[Task]":
        return await tasks.list_by_owner(
            pool,
            moment.owner,
            status=status,
            agent_name=agent_name,
            conversation_id=moment.conversation_id,
            limit=limit,
            before=before,
            source=source,
        )

    return await read_at(pool, TASKS, moment, read)


async def task_at(pool: AsyncConnectionPool, moment: Moment, task_id: UUID) -> "Task | None":
    """None if there was no such task in the conversation then."""
    live = await tasks.get(pool, task_id, owner=moment.owner)
    if live is None or live.conversation_id != moment.conversation_id:
        rows = await fold_life(pool, tasks.PROJECTION, moment, keys={(task_id,)}, tasks=[task_id])
    elif live.first_offset > moment.offset:
        return None
    elif live.last_offset <= moment.offset:
        return live
    else:
        after, until = live.first_offset - 1, moment.offset
        rows = await fold_between(
            pool, tasks.PROJECTION, moment.stream, after, until, keys={(task_id,)}, tasks=[task_id]
        )
    return rows.get((task_id,))


async def place_of_task(
    pool: AsyncConnectionPool, task_id: UUID, *, owner: str | None = None
) -> ConversationKey | None:
    """Owner and conversation of a task, also of one that was deleted with its conversation; None if there never was
    one, or if it is not this owner's (`owner` None: anybody's). Asks `tasks` and `experiences`, which forget nothing.
    """
    found = await read_one(pool, _PLACE, (task_id, owner, task_id, owner))
    return None if found is None else ConversationKey(*found)


async def agent_at(pool: AsyncConnectionPool, moment: Moment) -> str | None:
    """The agent to which the conversation was bound as a chat session; None: it was none then."""
    found = await read_one(pool, _FIRST, (moment.owner, moment.conversation_id))
    began = int(found[0]) if found is not None and found[0] <= moment.offset else moment.offset
    after = await last_deletion(pool, moment.stream, began)
    found = await read_one(pool, _OPENED, (moment.stream, after, moment.offset))
    return None if found is None else msgspec.json.decode(found[0], type=SessionOpened).agent_name
