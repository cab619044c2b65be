"""Files that users have uploaded. One row a file; where its bytes are is not the log's business.

    file.uploaded ──► there ──conversation.deleted (only where it was uploaded for that conversation)──► forgotten

The order of a list is that of the owner's stream.
"""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from psycopg_pool import AsyncConnectionPool

from app.core.envelope import Recorded
from app.core.events import ConversationDeleted, Event, FileUploaded
from projections.projection import Key, Projection, conversation_key, event_types
from projections.tables import fetch_rows
from projections.user_streams import user_of

LIST_MAX = 500
NAMES_MAX = 100
ANY_CONVERSATION = ""

DDL = """
CREATE TABLE IF NOT EXISTS files (
    owner text NOT NULL,
    stored_name text NOT NULL,
    conversation_id text NOT NULL,
    filename text NOT NULL,
    content_type text NOT NULL,
    size_bytes bigint NOT NULL,
    sha256 text NOT NULL,
    uploaded_offset bigint NOT NULL,
    uploaded_at timestamptz NOT NULL,
    PRIMARY KEY (owner, stored_name)
);
CREATE INDEX IF NOT EXISTS files_newest ON files (owner, uploaded_offset DESC);
CREATE INDEX IF NOT EXISTS files_by_name ON files (owner, filename, uploaded_offset DESC);
CREATE INDEX IF NOT EXISTS files_by_content ON files (sha256);
"""


class File(msgspec.Struct, frozen=True, gc=False):
    """`conversation_id` is empty where it is for all of its owner's conversations."""

    owner: str
    stored_name: str
    conversation_id: str
    filename: str
    content_type: str
    size_bytes: int
    sha256: str
    uploaded_offset: int
    uploaded_at: datetime


def key_of(recorded: Recorded, event: Event) -> Key | None:
    owner = user_of(recorded.stream)
    return (owner, event.stored_name) if owner is not None and isinstance(event, FileUploaded) else None


def apply(row: File | None, recorded: Recorded, event: Event) -> File | None:
    owner = user_of(recorded.stream)
    if owner is None or not isinstance(event, FileUploaded):
        return row
    return File(
        owner,
        event.stored_name,
        event.conversation_id,
        event.filename,
        event.content_type,
        event.size_bytes,
        event.sha256,
        recorded.offset,
        recorded.recorded_at,
    )


def scope_of(recorded: Recorded) -> Key | None:
    return conversation_key(recorded.stream)


PROJECTION = Projection(
    name="files",
    version=1,
    row=File,
    ddl=DDL,
    key=("owner", "stored_name"),
    handles=event_types(FileUploaded, ConversationDeleted),
    key_of=key_of,
    apply=apply,
    begins=event_types(FileUploaded),
    forgets=event_types(ConversationDeleted),
    scope=("owner", "conversation_id"),
    scope_of=scope_of,
)


async def get(pool: AsyncConnectionPool, owner: str, stored_name: str) -> File | None:
    """None if the owner has no such file (any more)."""
    found = await fetch_rows(
        pool, File, "SELECT * FROM files WHERE owner = %s AND stored_name = %s", (owner, stored_name)
    )
    return found[0] if found else None


async def named(
    pool: AsyncConnectionPool, owner: str, conversation_id: str, names: Sequence[str]
) -> dict[str, File]:
    """The owner's files with these stored names or file names, by that name, as far as the conversation may use them.

    A stored name beats a file name; of several with one file name the newest counts. At most the first 100 names.
    """
    wanted = list(names[:NAMES_MAX])
    usable = "owner = %s AND conversation_id IN ('', %s)"
    stored = await fetch_rows(
        pool,
        File,
        f"SELECT * FROM files WHERE {usable} AND stored_name = ANY (%s)",  # noqa: S608 (a constant)
        (owner, conversation_id, wanted),
    )
    newest = await fetch_rows(
        pool,
        File,
        f"SELECT DISTINCT ON (filename) * FROM files WHERE {usable} AND filename = ANY (%s) "  # noqa: S608
        "ORDER BY filename, uploaded_offset DESC",
        (owner, conversation_id, wanted),
    )
    return {row.filename: row for row in newest} | {row.stored_name: row for row in stored}


async def list_by_owner(
    pool: AsyncConnectionPool,
    owner: str,
    *,
    conversation_id: str | None = None,
    before: int | None = None,
    limit: int = 50,
) -> list[File]:
    """The newest first, at most 500. With `conversation_id` those that this conversation may use; `before`: those
    uploaded before this offset of the owner's stream."""
    where, arguments = ["owner = %s"], list[object]([owner])
    if conversation_id is not None:
        where.append("conversation_id IN ('', %s)")
        arguments.append(conversation_id)
    if before is not None:
        where.append("uploaded_offset < %s")
        arguments.append(before)
    return await fetch_rows(
        pool,
        File,
        f"SELECT * FROM files WHERE {' AND '.join(where)} ORDER BY uploaded_offset DESC LIMIT %s",  # noqa: S608
        (*arguments, max(0, min(limit, LIST_MAX))),
    )


async def is_known(pool: AsyncConnectionPool, sha256: str) -> bool:
    """Whether some file of anybody has this content."""
    return bool(await fetch_rows(pool, File, "SELECT * FROM files WHERE sha256 = %s LIMIT 1", (sha256,)))
