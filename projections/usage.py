"""What was used, by the hour: messages taken, tokens of model calls and their cost. Two views of the same.

`usage_by_department` is by the department that the use is charged to (empty where it is none's), `usage_by_user` by the
owner of the conversation. Use that quotas bind and use that they do not (`bound`) are rows of their own, so that quotas
read the one and dashboards both. Nothing is ever taken away: not when a conversation is deleted.

A row is of one partition of the log, since each partition is folded by itself.
"""

from collections.abc import Callable
from datetime import datetime

import msgspec
from psycopg_pool import AsyncConnectionPool

from app.core.admin_events import QuotaSubject
from app.core.envelope import Recorded
from app.core.events import Event, ModelAnswered, ModelAttemptFailed, RunRequested
from app.core.messages import Usage
from app.core.quotas import Tally, start_of
from projections.projection import Key, Projection, conversation_key, event_types
from projections.tables import fetch_rows

NANO = 1_000_000_000
TOKENS_MAX = 1_000_000_000_000
COST_USD_MAX = 1_000_000.0
"""What of one call is counted at most: nothing that a broken provider reports stops the view."""

TABLES: dict[QuotaSubject, str] = {"department": "usage_by_department", "user": "usage_by_user"}


def ddl(table: str) -> str:
    return f"""
CREATE TABLE IF NOT EXISTS {table} (
    subject_id text NOT NULL,
    bound boolean NOT NULL,
    hour timestamptz NOT NULL,
    partition integer NOT NULL,
    requests bigint NOT NULL,
    prompt_tokens bigint NOT NULL,
    completion_tokens bigint NOT NULL,
    cost_nano_usd bigint NOT NULL,
    PRIMARY KEY (subject_id, bound, hour, partition)
) WITH (fillfactor = 50);
"""


class UsageHour(msgspec.Struct, frozen=True, gc=False):
    """What one subject used in the hour that begins at `hour`. `requests` counts people's messages: not the runs of a
    team's members, and not operations. Cost is in billionths of a US dollar, so that its sums are exact."""

    subject_id: str
    bound: bool
    hour: datetime
    partition: int
    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_nano_usd: int = 0


Counted = RunRequested | ModelAnswered | ModelAttemptFailed
SubjectOf = Callable[[Recorded, Counted], str | None]


def charged_department(recorded: Recorded, event: Counted) -> str | None:
    """Empty: no department's."""
    return event.charged_to if conversation_key(recorded.stream) is not None else None


def owner(recorded: Recorded, event: Counted) -> str | None:
    key = conversation_key(recorded.stream)
    return key and key.owner


def by_hour(subject: QuotaSubject, subject_of: SubjectOf) -> Projection[UsageHour]:
    """The view of this kind of subject."""

    def key_of(recorded: Recorded, event: Event) -> Key | None:
        if not isinstance(event, Counted) or (isinstance(event, RunRequested) and event.parent is not None):
            return None
        subject_id = subject_of(recorded, event)
        if subject_id is None:
            return None
        return subject_id, event.bound, start_of("hour", recorded.recorded_at), recorded.partition

    def apply(row: UsageHour | None, recorded: Recorded, event: Event) -> UsageHour | None:
        if row is None:
            key = key_of(recorded, event)
            row = None if key is None else UsageHour(*key)
        return None if row is None else add(row, event)

    table = TABLES[subject]
    return Projection(
        name=table,
        version=1,
        row=UsageHour,
        ddl=ddl(table),
        key=("subject_id", "bound", "hour", "partition"),
        handles=event_types(RunRequested, ModelAnswered, ModelAttemptFailed),
        key_of=key_of,
        apply=apply,
    )


def add(row: UsageHour, event: Event) -> UsageHour:
    match event:
        case RunRequested():
            return msgspec.structs.replace(row, requests=row.requests + 1)
        case ModelAnswered():
            return _spent(row, event.answer.usage, event.cost_usd)
        case ModelAttemptFailed():
            return _spent(row, event.usage, event.cost_usd)
        case _:
            return row


def _spent(row: UsageHour, usage: Usage, cost_usd: float | None) -> UsageHour:
    return msgspec.structs.replace(
        row,
        prompt_tokens=row.prompt_tokens + _counted(usage.prompt_tokens),
        completion_tokens=row.completion_tokens + _counted(usage.completion_tokens),
        cost_nano_usd=row.cost_nano_usd + nano_usd(cost_usd),
    )


def nano_usd(cost_usd: float | None) -> int:
    """To the nearest billionth of a dollar; 0 where no price is known."""
    return round(min(max(0.0, cost_usd or 0.0), COST_USD_MAX) * NANO)


def _counted(tokens: int) -> int:
    return min(max(0, tokens), TOKENS_MAX)


BY_DEPARTMENT = by_hour("department", charged_department)
BY_USER = by_hour("user", owner)


def _sums(span: str) -> str:
    where = f"FILTER (WHERE u.hour >= s.{span})"
    return (
        f"json_build_object('requests', coalesce(sum(u.requests) {where}, 0), "
        f"'tokens', coalesce(sum(u.prompt_tokens + u.completion_tokens) {where}, 0), "
        f"'cost_usd', coalesce(sum(u.cost_nano_usd) {where}, 0) / {NANO}.0) AS {span}"
    )


_TALLY = """
SELECT s.at, t.* FROM (
    SELECT c.at, date_trunc('hour', c.at, 'UTC') AS hour, date_trunc('day', c.at, 'UTC') AS day,
           date_trunc('month', c.at, 'UTC') AS month
    FROM (SELECT coalesce(%s::timestamptz, now()) AS at) c
) s CROSS JOIN LATERAL (
    SELECT {sums} FROM {table} u WHERE u.subject_id = %s AND u.bound AND u.hour >= s.month
) t
"""


async def tally(
    pool: AsyncConnectionPool, subject: QuotaSubject, subject_id: str, *, at: datetime | None = None
) -> Tally:
    """What of the subject's bound use lies in the present hour, day and month: those of `at`, or of the database's
    clock, which also dates the events. As far as the view is. Raises `ViewsUnavailable`."""
    sums = ", ".join(map(_sums, ("hour", "day", "month")))
    query = _TALLY.format(sums=sums, table=TABLES[subject])
    (found,) = await fetch_rows(pool, Tally, query, (at, subject_id))
    return found
