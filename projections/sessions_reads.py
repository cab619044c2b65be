"""What readers ask of sessions: one of them, a page of an owner's, and how many there are.

Title and number of messages are those of the conversation. A page and the count each read an index alone, so a list
costs the same wherever in it the page lies, and counting 100 000 sessions takes milliseconds.
"""

from datetime import datetime
from typing import NamedTuple

from psycopg_pool import AsyncConnectionPool

from app.core import titles
from app.core.texts import Locale
from projections import page_cursors
from projections.page_cursors import InvalidPageCursor
from projections.reads import read_one
from projections.sessions import Session, Status
from projections.tables import fetch_rows

LIST_MAX = 500
CURSOR_CHARS_MAX = 1_200

_SHOWN = (
    "s.*, coalesce(c.title, '') AS title, coalesce(c.given_title, '') AS given_title, "
    "coalesce(c.message_count, 0) AS message_count"
)
_JOINED = "LEFT JOIN conversations c ON c.owner = s.owner AND c.conversation_id = s.conversation_id"


class Cursor(NamedTuple):
    """Where a page of the list ended. `str` of it is what clients get."""

    updated_at: datetime
    session_id: str

    def __str__(self) -> str:
        return page_cursors.encoded(self.updated_at, self.session_id)


class ShownSession(Session, frozen=True, gc=False):
    """A session as it is shown. `message_count` counts messages of users and assistants."""

    title: str = ""
    given_title: str = ""
    message_count: int = 0

    def shown_title(self, locale: Locale) -> str:
        """The title, or the locale's word for a conversation where there is none yet."""
        return titles.shown_title(self.given_title or self.title, locale)

    @property
    def cursor(self) -> Cursor:
        """The list's next page starts behind this."""
        return Cursor(self.updated_at, self.session_id)


def parse_cursor(text: str) -> Cursor:
    """The cursor whose `str` this is. Raises `InvalidPageCursor`."""
    updated_at, session_id = page_cursors.decoded(text, chars_max=CURSOR_CHARS_MAX)
    if not session_id or "\0" in session_id:
        raise InvalidPageCursor(text)
    return Cursor(updated_at, session_id)


async def get(pool: AsyncConnectionPool, owner: str, session_id: str) -> ShownSession | None:
    """None if the owner has no such session (any more)."""
    query = f"SELECT {_SHOWN} FROM sessions s {_JOINED} WHERE s.owner = %s AND s.conversation_id = %s"  # noqa: S608
    found = await fetch_rows(pool, ShownSession, query, (owner, session_id))
    return found[0] if found else None


async def list_by_owner(
    pool: AsyncConnectionPool,
    owner: str,
    *,
    agent_name: str | None = None,
    status: Status | None = None,
    limit: int = 50,
    before: Cursor | None = None,
) -> list[ShownSession]:
    """Those changed last come first, at most 500; the next page is `before` the last one's `cursor`."""
    where, arguments = _where(owner, agent_name, status)
    if before is not None:
        where, arguments = f"{where} AND (updated_at, conversation_id) < (%s, %s)", [*arguments, *before]
    # The page is found in the index alone, also where few of many have this agent or status.
    found = (
        f"SELECT owner, conversation_id FROM sessions WHERE {where} "  # noqa: S608 (constants)
        "ORDER BY updated_at DESC, conversation_id DESC LIMIT %s"
    )
    return await fetch_rows(
        pool,
        ShownSession,
        f"SELECT {_SHOWN} FROM ({found}) page JOIN sessions s USING (owner, conversation_id) {_JOINED} "  # noqa: S608
        "ORDER BY s.updated_at DESC, s.conversation_id DESC",
        (*arguments, max(0, min(limit, LIST_MAX))),
    )


async def count_by_owner(
    pool: AsyncConnectionPool, owner: str, *, agent_name: str | None = None, status: Status | None = None
) -> int:
    """How many sessions the owner has."""
    where, arguments = _where(owner, agent_name, status)
    row = await read_one(pool, f"SELECT count(*) FROM sessions WHERE {where}".encode(), arguments)  # noqa: S608
    return int(row[0]) if row else 0


def _where(owner: str, agent_name: str | None, status: Status | None) -> tuple[str, list[object]]:
    where, arguments = "owner = %s", list[object]([owner])
    for column, wanted in (("agent_name", agent_name), ("status", status)):
        if wanted is not None:
            where, arguments = f"{where} AND {column} = %s", [*arguments, wanted]
    return where, arguments
