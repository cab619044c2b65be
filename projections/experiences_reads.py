"""Reading experiences: lists with filters, one, and those that were added behind a cursor."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from psycopg_pool import AsyncConnectionPool

from projections import page_cursors
from projections.experience_texts import terms_of
from projections.experiences import Experience, Outcome
from projections.page_cursors import InvalidPageCursor
from projections.tables import fetch_rows

LIST_MAX = 200
CURSOR_CHARS_MAX = 200
FILTERS = ("agent", "skill", "mode", "model", "department", "task_type", "outcome", "error_class")
"""Columns that a list may be narrowed to one value of."""


class Cursor(NamedTuple):
    """Where a page of the list ended."""

    ended_at: datetime
    id: UUID

    def __str__(self) -> str:
        return page_cursors.encoded(self.ended_at, self.id)


class ToldExperience(Experience, frozen=True, kw_only=True):
    """An ended one, with its words."""

    outcome: Outcome  # pyright: ignore[reportIncompatibleVariableOverride, reportGeneralTypeIssues]
    ended_at: datetime  # pyright: ignore[reportIncompatibleVariableOverride, reportGeneralTypeIssues]
    goal: str
    result: str
    problem: str

    @property
    def cursor(self) -> Cursor:
        """The list's next page starts behind this."""
        return Cursor(self.ended_at, self.id)


class Wanted(NamedTuple):
    """What a list is narrowed to. `equal`: values of `FILTERS`; `words`: all of them are in the goal; `position`: ended
    up to there in the log."""

    owner: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    equal: Mapping[str, str] = {}
    words: str = ""
    position: int | None = None


def parse_cursor(text: str) -> Cursor:
    """The cursor whose `str` this is. Raises `InvalidPageCursor`."""
    ended_at, experience_id = page_cursors.decoded(text, chars_max=CURSOR_CHARS_MAX)
    try:
        return Cursor(ended_at, UUID(experience_id))
    except ValueError:
        raise InvalidPageCursor(text) from None


_JOINED = "FROM experiences e JOIN experience_texts t USING (id)"
_SHOWN = "e.*, t.goal, t.result, t.problem"


async def listed(
    pool: AsyncConnectionPool, wanted: Wanted, *, limit: int = 50, before: Cursor | None = None
) -> list[ToldExperience]:
    """Those that ended last come first, at most 200; the next page is `before` the last one's `cursor`. What belonged
    to a deleted conversation is not among them. Raises `ViewsUnavailable`."""
    parts, arguments = ["e.outcome IS NOT NULL"], list[object]()

    def also(part: str, *values: object) -> None:
        parts.append(part)
        arguments.extend(values)

    if wanted.owner is not None:
        also("e.owner = %s", wanted.owner)
    if wanted.since is not None:
        also("e.ended_at >= %s", wanted.since)
    if wanted.until is not None:
        also("e.ended_at < %s", wanted.until)
    if wanted.position is not None:
        also("e.position <= %s", wanted.position)
    for column, value in wanted.equal.items():
        if column not in FILTERS:
            raise ValueError(f"no filter: {column}")
        also(f"e.{column} = %s", value)
    if wanted.words.strip():
        also(
            "to_tsvector('simple', t.terms) @@ plainto_tsquery('simple', %s)",
            " ".join(terms_of(wanted.words)),
        )
    if before is not None:
        also("(e.ended_at, e.id) < (%s, %s)", *before)
    query = (
        f"SELECT {_SHOWN} {_JOINED} WHERE {' AND '.join(parts)} ORDER BY e.ended_at DESC, e.id DESC LIMIT %s"
    )
    return await fetch_rows(pool, ToldExperience, query, (*arguments, max(0, min(limit, LIST_MAX))))


async def get(
    pool: AsyncConnectionPool, experience_id: UUID, *, owner: str | None = None
) -> ToldExperience | None:
    """None if there is none, it has not ended, or it is not the owner's. Raises `ViewsUnavailable`."""
    query = f"SELECT {_SHOWN} {_JOINED} WHERE id = %s AND e.outcome IS NOT NULL AND (%s::text IS NULL OR e.owner = %s)"
    found = await fetch_rows(pool, ToldExperience, query, (experience_id, owner, owner))
    return found[0] if found else None


async def added(
    pool: AsyncConnectionPool, partition: int, after: int, until: int, *, owner: str | None = None, limit: int
) -> list[ToldExperience]:
    """Those that ended behind position `after` of the partition, up to `until`, in their order. Raises
    `ViewsUnavailable`."""
    query = (
        f"SELECT {_SHOWN} {_JOINED} WHERE e.outcome IS NOT NULL AND e.partition = %s AND e.position > %s "
        "AND e.position <= %s AND (%s::text IS NULL OR e.owner = %s) ORDER BY e.position LIMIT %s"
    )
    return await fetch_rows(pool, ToldExperience, query, (partition, after, until, owner, owner, limit))
