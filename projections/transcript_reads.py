"""What readers ask of the transcript: the newest messages, and those that say something.

A message of a meeting is shown only where its task's row is there, and is told with the names and faces of that row;
the answer of a team with what its members did (`expert_runs`). With a `source` they are those of a moment of the past
(`past_reads.py`).
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from psycopg_pool import AsyncConnectionPool

from app.core.meeting_cards import Cast, of_expert
from projections.past import Source
from projections.tables import fetch_rows

PAGE_MAX = 1_000
SEARCH_MAX = 100
QUERY_CHARS_MAX = 500
SHOWN_ROLES = ("user", "assistant")

TASK_KEY_CHARS = len("task/") + 32

_MESSAGE = "id, role, content, shown_at AS timestamp, metadata"
_MEETING = (
    "SELECT FROM transcript AS meeting "
    "WHERE meeting.owner = transcript.owner AND meeting.conversation_id = transcript.conversation_id "
    f"AND meeting.message_key = left(transcript.message_key, {TASK_KEY_CHARS})"
)
_SHOWN = f"shown_offset IS NOT NULL AND (message_key NOT LIKE 'task/%%/%%' OR EXISTS ({_MEETING}))"
_SEARCHED = f"owner = %s AND {_SHOWN} AND role IN ('user', 'assistant')"
_WORDS = "to_tsvector('simple', left(content, 100000)) @@ websearch_to_tsquery('simple', %s)"


PRESENT = Source("transcript")


class Message(msgspec.Struct, frozen=True):
    """A shown message. `metadata` has the keys of `transcript.Metadata` that are not at their default, as JSON."""

    id: str
    role: str
    content: str
    timestamp: datetime
    metadata: dict[str, Any]


class Page(msgspec.Struct, frozen=True):
    """Messages, oldest first. A reader that subscribes behind offset `head` misses nothing that this page lacks."""

    messages: list[Message]
    head: int


class Found(msgspec.Struct, frozen=True):
    conversation_id: str
    message: Message


class _Head(msgspec.Struct, frozen=True):
    head: int


class _Result(msgspec.Struct, frozen=True):
    tool_call_id: str
    content: str


class _TaskCard(msgspec.Struct, frozen=True):
    message_key: str
    content: str
    metadata: dict[str, Any]


class _Hit(Message, frozen=True):
    conversation_id: str


async def page(
    pool: AsyncConnectionPool,
    owner: str,
    conversation_id: str,
    *,
    limit: int = 50,
    before: int | None = None,
    roles: tuple[str, ...] = SHOWN_ROLES,
    source: Source = PRESENT,
) -> Page:
    """The newest messages (at most 1 000) of these roles, or the newest before an offset, in chronological order."""
    key = (owner, conversation_id)
    # Read first: a head that is too old only makes a subscriber read something twice, never miss it.
    head = source.until if source.until is not None else await _head(pool, key)
    newest = await fetch_rows(
        pool,
        Message,
        f"SELECT {_MESSAGE} FROM {source.sql} WHERE owner = %s AND conversation_id = %s "  # noqa: S608 (constants)
        f"{source.where} AND {_shown(source)} AND shown_offset < %s AND role = ANY (%s) "
        "ORDER BY shown_offset DESC LIMIT %s",
        (*source.arguments, *key, _bound(source, before), list(roles), max(0, min(limit, PAGE_MAX))),
    )
    newest.reverse()
    await _complete(pool, key, newest, source)
    return Page(newest, head)


async def _head(pool: AsyncConnectionPool, key: tuple[str, str]) -> int:
    found = await fetch_rows(
        pool,
        _Head,
        "SELECT coalesce(max(last_offset), 0) AS head FROM transcript WHERE owner = %s AND conversation_id = %s",
        key,
    )
    return found[0].head


async def listed(
    pool: AsyncConnectionPool,
    owner: str,
    conversation_id: str,
    *,
    limit: int = 50,
    offset: int = 0,
    source: Source = PRESENT,
) -> list[Message]:
    """Shown messages of every role, oldest first: at most 1 000 behind the first `offset` ones."""
    key = (owner, conversation_id)
    messages = await fetch_rows(
        pool,
        Message,
        f"SELECT {_MESSAGE} FROM {source.sql} WHERE owner = %s AND conversation_id = %s "  # noqa: S608 (constants)
        f"{source.where} AND {_shown(source)} ORDER BY shown_offset LIMIT %s OFFSET %s",
        (*source.arguments, *key, max(0, min(limit, PAGE_MAX)), max(0, offset)),
    )
    await _complete(pool, key, messages, source)
    return messages


def _shown(source: Source) -> str:
    """The messages that are shown. At a moment, those of a meeting whose task was there then."""
    if source.whole:
        return "shown_offset IS NOT NULL"
    return _SHOWN if source.until is None else _SHOWN.replace(_MEETING, f"{_MEETING} AND {_begun(source)}")


def _begun(source: Source) -> str:
    return f"meeting.first_offset <= {source.until}"


def _bound(source: Source, before: int | None) -> int:
    """Messages are shown before this offset."""
    behind = 2**62 if source.until is None else source.until + 1
    return behind if before is None else min(before, behind)


async def added(
    pool: AsyncConnectionPool, owner: str, conversation_id: str, message_ids: Sequence[str]
) -> list[Message]:
    """The messages that a client has added under these ids (`message.added`), in the order of the conversation."""
    key = (owner, conversation_id)
    messages = await fetch_rows(
        pool,
        Message,
        f"SELECT {_MESSAGE} FROM transcript WHERE owner = %s AND conversation_id = %s "  # noqa: S608 (constants)
        "AND message_key = ANY (%s) ORDER BY shown_offset",
        (*key, [f"added/{message_id}" for message_id in message_ids]),
    )
    await _complete(pool, key, messages)
    return messages


async def search(
    pool: AsyncConnectionPool, owner: str, conversation_id: str | None, query: str, *, limit: int = 20
) -> list[Found]:
    """Messages (at most 100) with all words of the query, newest first; then those that contain it as a part of a text.

    The second way finds parts of words and languages that put no spaces between words. `conversation_id` None: all of
    the owner's. A query has at most 500 characters; what is longer is cut off.
    """
    query = query.replace("\0", "")[:QUERY_CHARS_MAX].strip()
    limit = max(0, min(limit, SEARCH_MAX))
    if not query or not limit:
        return []
    where, scope = _SEARCHED, [owner]
    if conversation_id is not None:
        where, scope = f"{where} AND conversation_id = %s", [owner, conversation_id]
    hits = await _hits(pool, f"{where} AND {_WORDS}", [*scope, query], limit)
    if len(hits) < limit:
        part = f"{where} AND content ILIKE %s AND NOT {_WORDS}"
        hits += await _hits(pool, part, [*scope, f"%{_escaped(query)}%", query], limit - len(hits))
    for conversation in {hit.conversation_id for hit in hits}:
        await _complete(
            pool, (owner, conversation), [hit for hit in hits if hit.conversation_id == conversation]
        )
    return [
        Found(hit.conversation_id, Message(hit.id, hit.role, hit.content, hit.timestamp, hit.metadata))
        for hit in hits
    ]


async def _hits(pool: AsyncConnectionPool, where: str, arguments: list[str], limit: int) -> list[_Hit]:
    return await fetch_rows(
        pool,
        _Hit,
        f"SELECT {_MESSAGE}, conversation_id FROM transcript WHERE {where} "  # noqa: S608 (constants)
        "ORDER BY shown_at DESC, shown_offset DESC LIMIT %s",
        (*arguments, limit),
    )


async def _complete(
    pool: AsyncConnectionPool, key: tuple[str, str], messages: Sequence[Message], source: Source = PRESENT
) -> None:
    """Put in what stands in other rows."""
    await _add_imported_results(pool, key, messages, source)
    await _add_experts(pool, key, messages, source)
    await _add_expert_runs(pool, key, messages, source)


async def _add_experts(
    pool: AsyncConnectionPool, key: tuple[str, str], messages: Sequence[Message], source: Source
) -> None:
    """Who has made a speech is said in the card of the board."""
    speeches = [message for message in messages if "expert_id" in message.metadata]
    cards = await _cards(pool, key, [message.metadata["task_id"] for message in speeches], source)
    for message in speeches:
        card = cards.get(message.metadata["task_id"])
        experts = card.metadata.get("experts", ()) if card is not None else ()
        cast = msgspec.convert(experts, Cast)
        message.metadata.update(of_expert(cast, message.metadata["expert_id"]))


async def _add_expert_runs(
    pool: AsyncConnectionPool, key: tuple[str, str], messages: Sequence[Message], source: Source
) -> None:
    """What the members of a team have done, in the order in which they began."""
    teams = [message for message in messages if "children" in message.metadata]
    children = [child for team in teams for child in team.metadata["children"]]
    cards = await _cards(pool, key, children, source)
    for team in teams:
        cast = msgspec.convert(team.metadata.get("experts", ()), Cast)
        team.metadata["expert_runs"] = [
            {
                **cards[child].metadata,
                **of_expert(cast, cards[child].metadata.get("expert_id", "")),
                "content": cards[child].content,
            }
            for child in team.metadata.pop("children")
            if child in cards
        ]


async def _cards(
    pool: AsyncConnectionPool, key: tuple[str, str], task_ids: Sequence[str], source: Source
) -> dict[str, _TaskCard]:
    """The rows of these tasks."""
    if not task_ids:
        return {}
    found = await fetch_rows(
        pool,
        _TaskCard,
        f"SELECT message_key, content, metadata FROM {source.sql} "  # noqa: S608 (constants)
        f"WHERE owner = %s AND conversation_id = %s AND message_key = ANY (%s) {source.where}",
        (*source.arguments, *key, [f"task/{UUID(task_id).hex}" for task_id in dict.fromkeys(task_ids)]),
    )
    return {str(UUID(card.message_key.removeprefix("task/"))): card for card in found}


async def _add_imported_results(
    pool: AsyncConnectionPool, key: tuple[str, str], messages: Sequence[Message], source: Source
) -> None:
    """An imported tool result is a message of its own; put it into the card of the call as well."""
    calls = [
        call
        for message in messages
        if "task_id" not in message.metadata
        for call in message.metadata.get("tool_calls", ())
    ]
    if not calls:
        return
    results = await fetch_rows(
        pool,
        _Result,
        f"SELECT tool_call_id, content FROM {source.sql} "  # noqa: S608 (constants)
        f"WHERE owner = %s AND conversation_id = %s AND tool_call_id = ANY (%s) {source.where}",
        (*source.arguments, *key, [call["call_id"] for call in calls]),
    )
    found = {result.tool_call_id: result.content for result in results}
    for call in calls:
        if call["call_id"] in found:
            call["result"] = found[call["call_id"]]


def _escaped(query: str) -> str:
    """Without a meaning to LIKE."""
    return query.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
