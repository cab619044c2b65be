"""Conversations of an owner: what a list of them shows. One row a conversation.

`message_count` counts the user and assistant messages that `transcript` shows; both follow the same rules, so the two
agree at the same position. What is said in a board counts as it is shown there. A task that another task started (an
operation, a member's run) has no message, nor has one whose message another task heard. A deletion removes the row; the
next message starts it anew. An answer of a run that was requested before the deletion belongs to what is forgotten, so
it is neither counted nor shown. What a row was is kept (`HISTORY`), for reads of the past (`past_reads.py`).
"""

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from psycopg_pool import AsyncConnectionPool

from app.core import titles
from app.core.envelope import Recorded
from app.core.events import (
    BoardStarted,
    ConversationCreated,
    ConversationDeleted,
    ConversationImported,
    ConversationTitled,
    Event,
    ExpertSpoke,
    MessageAdded,
    MessageAnswered,
    MessageImported,
    MessageInterrupted,
    MessageReceived,
    RoundSummarized,
    RunCancelled,
    RunFailed,
    RunMerged,
    RunRequested,
)
from app.core.meeting_events import BOARD_MODE
from app.core.texts import Locale
from projections.derived import History
from projections.imported import read_imported
from projections.projection import Case, Key, Projection, conversation_key, event_types, owned_by
from projections.reads import read_one
from projections.tables import fetch_rows

LIST_MAX = 500
COUNTED_ROLES = ("user", "assistant")

DDL = """
CREATE TABLE IF NOT EXISTS conversations (
    owner text NOT NULL,
    conversation_id text NOT NULL,
    title text NOT NULL,
    given_title text NOT NULL,
    titled boolean NOT NULL,
    is_board boolean NOT NULL,
    message_count integer NOT NULL,
    first_offset bigint NOT NULL,
    head bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    open_tasks uuid[] NOT NULL,
    PRIMARY KEY (owner, conversation_id)
) WITH (fillfactor = 70);
CREATE INDEX IF NOT EXISTS conversations_newest ON conversations (owner, updated_at DESC, conversation_id DESC);
"""


class Cursor(NamedTuple):
    """Where a page of the list ended."""

    updated_at: datetime
    conversation_id: str


class Conversation(msgspec.Struct, frozen=True, gc=False):
    """`title` is as stored, possibly empty; `given_title`, where there is one, stands in its place. `head` is the
    offset of the last event that changed this row, `first_offset` that of the first one since the last deletion.

    `titled` says that the first user message was seen; `open_tasks` are runs that have not shown their message yet.
    """

    owner: str
    conversation_id: str
    created_at: datetime
    updated_at: datetime
    first_offset: int
    head: int
    title: str = ""
    given_title: str = ""
    titled: bool = False
    is_board: bool = False
    message_count: int = 0
    open_tasks: tuple[UUID, ...] = ()

    def shown_title(self, locale: Locale = "en") -> str:
        """The title, or the locale's word for a conversation where it is empty."""
        return titles.shown_title(self.given_title or self.title, locale)

    @property
    def cursor(self) -> Cursor:
        """The list's next page starts behind this."""
        return Cursor(self.updated_at, self.conversation_id)


def key_of(recorded: Recorded, event: Event) -> Key | None:
    return conversation_key(recorded.stream)


def apply(row: Conversation | None, recorded: Recorded, event: Event) -> Conversation | None:
    return CASES[type(event)](row, recorded, event)


def _deleted(row: Conversation | None, recorded: Recorded, event: ConversationDeleted) -> None:
    return None


def _opened(
    row: Conversation | None, recorded: Recorded, event: ConversationCreated | ConversationImported
) -> Conversation:
    return _changed(row or _begun(recorded), recorded)


def _titled(row: Conversation | None, recorded: Recorded, event: ConversationTitled) -> Conversation | None:
    if row is None:
        return None
    # No news of the conversation: the list keeps its order.
    return msgspec.structs.replace(row, given_title=event.title, head=recorded.offset)


def _received(row: Conversation | None, recorded: Recorded, event: MessageReceived) -> Conversation:
    return _with_message(row or _begun(recorded), recorded, "user", event.content)


def _added(
    row: Conversation | None, recorded: Recorded, event: MessageImported | MessageAdded
) -> Conversation:
    message = read_imported(event.message)
    return _with_message(row or _begun(recorded), recorded, message.role, message.text)


def _requested(row: Conversation | None, recorded: Recorded, event: RunRequested) -> Conversation | None:
    if event.parent is not None:
        return row
    return _with_run(row or _begun(recorded), recorded, is_board=event.mode == BOARD_MODE)


def _answered(
    row: Conversation | None, recorded: Recorded, event: MessageAnswered | MessageInterrupted
) -> Conversation | None:
    if recorded.task_id is None:
        return _with_message(row or _begun(recorded), recorded, "assistant", "")
    if isinstance(event, MessageInterrupted) and not event.content.strip():
        return row  # nothing to show; the run's terminal event has something
    return _ended(row, recorded, event)


def _ended(row: Conversation | None, recorded: Recorded, event: Event) -> Conversation | None:
    """A run shows one message: its answer, what there was of it, or why there is none."""
    return None if row is None else _without_run(row, recorded, messages=1)


def _merged(row: Conversation | None, recorded: Recorded, event: RunMerged) -> Conversation | None:
    return None if row is None else _without_run(row, recorded, messages=0)


def _spoken(
    row: Conversation | None, recorded: Recorded, event: BoardStarted | ExpertSpoke | RoundSummarized
) -> Conversation | None:
    """A message of a meeting that is being held."""
    if row is None or recorded.task_id not in row.open_tasks:
        return row
    return _changed(row, recorded, message_count=row.message_count + 1)


CASES: dict[type[Event], Case] = {
    ConversationDeleted: _deleted,
    ConversationCreated: _opened,
    ConversationImported: _opened,
    ConversationTitled: _titled,
    MessageReceived: _received,
    MessageImported: _added,
    MessageAdded: _added,
    RunRequested: _requested,
    MessageAnswered: _answered,
    MessageInterrupted: _answered,
    RunFailed: _ended,
    RunCancelled: _ended,
    RunMerged: _merged,
    BoardStarted: _spoken,
    ExpertSpoke: _spoken,
    RoundSummarized: _spoken,
}


def _with_run(row: Conversation, recorded: Recorded, *, is_board: bool) -> Conversation:
    if recorded.task_id is None or recorded.task_id in row.open_tasks:
        return row
    open_tasks = (*row.open_tasks, recorded.task_id)
    return _changed(row, recorded, open_tasks=open_tasks, is_board=row.is_board or is_board)


def _without_run(row: Conversation, recorded: Recorded, *, messages: int) -> Conversation:
    if recorded.task_id not in row.open_tasks:
        return row
    open_tasks = tuple(task_id for task_id in row.open_tasks if task_id != recorded.task_id)
    return _changed(row, recorded, open_tasks=open_tasks, message_count=row.message_count + messages)


def _with_message(row: Conversation, recorded: Recorded, role: str, content: str) -> Conversation:
    counted = row.message_count + (role in COUNTED_ROLES)
    if role != "user" or row.titled:
        return _changed(row, recorded, message_count=counted)
    title = titles.title_of(content)
    return _changed(
        row,
        recorded,
        message_count=counted,
        title=title.text,
        titled=True,
        is_board=row.is_board or title.is_board,
    )


def _begun(recorded: Recorded) -> Conversation:
    at, offset = recorded.recorded_at, recorded.offset
    return Conversation(*owned_by(recorded), at, at, offset, offset)


def _changed(row: Conversation, recorded: Recorded, **fields: Any) -> Conversation:
    return msgspec.structs.replace(row, head=recorded.offset, updated_at=recorded.recorded_at, **fields)


HISTORY = History("conversations_history", every=500, at=lambda row: row.head)
PROJECTION = Projection(
    name="conversations",
    version=5,
    row=Conversation,
    ddl=DDL,
    key=("owner", "conversation_id"),
    handles=event_types(*CASES),
    key_of=key_of,
    apply=apply,
    history=HISTORY,
)


async def get(pool: AsyncConnectionPool, owner: str, conversation_id: str) -> Conversation | None:
    """None if the owner has no such conversation (any more)."""
    found = await fetch_rows(
        pool,
        Conversation,
        "SELECT * FROM conversations WHERE owner = %s AND conversation_id = %s",
        (owner, conversation_id),
    )
    return found[0] if found else None


async def list_by_owner(
    pool: AsyncConnectionPool, owner: str, *, limit: int = 20, before: Cursor | None = None
) -> list[Conversation]:
    """Those changed last come first, at most 500; the next page is `before` the last one's `cursor`."""
    behind = "" if before is None else "AND (updated_at, conversation_id) < (%s, %s)"
    return await fetch_rows(
        pool,
        Conversation,
        f"SELECT * FROM conversations WHERE owner = %s {behind} "  # noqa: S608 (constants)
        "ORDER BY updated_at DESC, conversation_id DESC LIMIT %s",
        (owner, *(before or ()), max(0, min(limit, LIST_MAX))),
    )


async def count_by_owner(pool: AsyncConnectionPool, owner: str) -> int:
    """How many conversations the owner has."""
    row = await read_one(pool, b"SELECT count(*) FROM conversations WHERE owner = %s", (owner,))
    return int(row[0]) if row else 0
