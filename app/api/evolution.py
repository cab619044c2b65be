"""Experiences, metrics and pitfalls over REST (wire contract, section 8).

A member sees their own; admins and auditors see everybody's, or with `owner` one user's.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Literal, NamedTuple
from uuid import UUID

import msgspec
from litestar import Router, get
from litestar.exceptions import ClientException, NotFoundException
from litestar.params import Parameter, QueryParameter

from app.api.evolution_wire import (
    ExperiencePage,
    ShownExperience,
    ShownMetrics,
    shown_experience,
    shown_metrics,
)
from app.api.past import parse_as_of
from app.api.queries import EARLIEST, LATEST, read_time
from app.api.security import owner_of
from app.api.services import Services
from app.api.views import caught_up
from app.auth.principal import Principal
from app.core.messages import storable
from app.core.texts import text
from app.runs.reminder_times import ZoneUnknown, zone_of
from projections import experiences_reads, lessons
from projections.experience_sums import DIMENSIONS, Dimension
from projections.experiences import Outcome
from projections.experiences_reads import Wanted
from projections.lessons import Pitfall
from projections.metrics import Scope, bucket_of
from projections.metrics_reads import metrics
from projections.moments import AtOffset, AtPosition, AtTime
from projections.reads import now

Period = Literal["24h", "7d", "30d"]
PERIODS: Mapping[Period, timedelta] = {
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
}
BEHIND = timedelta(microseconds=1)
RANGE_DAYS_MAX = 3_660
VIEWS = ("experiences", "experience_texts")

Owner = Annotated[
    str | None,
    QueryParameter(
        name="owner", min_length=1, max_length=100, description="Whose; by default all that one may see"
    ),
]
Value = Annotated[str | None, Parameter(max_length=200)]
Time = Annotated[str | None, Parameter(description="RFC 3339, for example 2026-01-31T00:00:00Z")]


AsOf = Annotated[
    str | None,
    Parameter(description="as it was at a time (RFC 3339), or at `position:4711` of the log"),
]


class PitfallPage(msgspec.Struct, frozen=True):
    """Failures of one kind that repeat, the most frequent first."""

    since: datetime
    until: datetime
    pitfalls: list[Pitfall]


class Range(NamedTuple):
    """`position`: nothing that ended behind it in the log."""

    since: datetime
    until: datetime
    position: int | None = None


def seen_by(services: Services, principal: Principal, named: str | None) -> str | None:
    """Whose experiences a call means; None: everybody's. Raises 404 for somebody else's."""
    if named is None and principal.sees_all:
        return None
    return owner_of(services, principal, named)


async def end_of(services: Services, as_of: str) -> tuple[datetime, int | None]:
    """Right behind that moment, and its position where it has one. Raises 400, `InvalidQuery`."""
    locale = services.options.locale
    match parse_as_of(as_of):
        case AtTime(at):
            return min(at, LATEST - BEHIND) + BEHIND, None
        case AtPosition(position) if services.log.partitions == 1:
            found = await services.log.reader.partition(0, after=position - 1, limit=1) if position else []
            if not found:
                raise ClientException(text("position_unknown", locale, given=position))
            return found[0].recorded_at + BEHIND, position
        case AtPosition() | AtOffset():
            raise ClientException(text("as_of_of_all", locale, given=as_of[:40]))


async def asked_end(
    services: Services, until: str | None, as_of: str | None
) -> tuple[datetime | None, int | None]:
    """Where the caller has it end; None where nothing is said. Raises 400, `InvalidQuery`."""
    if until is not None and as_of is not None:
        raise ClientException(text("range_twice", services.options.locale))
    if as_of is not None:
        return await end_of(services, as_of)
    return (None if until is None else read_time("until", until)), None


async def range_of(
    services: Services, period: Period, since: str | None, until: str | None, as_of: str | None
) -> Range:
    """`since` and `until`, or the period up to `as_of`, or up to now by the database's clock, which dates the events.

    Raises 400, `InvalidQuery`.
    """
    locale = services.options.locale
    end, position = await asked_end(services, until, as_of)
    if end is None:
        end = await now(services.reads) + BEHIND
    begin = (
        read_time("since", since)
        if since is not None
        else max(end, EARLIEST + PERIODS[period]) - PERIODS[period]
    )
    if not begin < end or end - begin > timedelta(days=RANGE_DAYS_MAX):
        shown = {"since": begin.isoformat(), "until": end.isoformat()}
        raise ClientException(text("range_invalid", locale, days=RANGE_DAYS_MAX, **shown))
    return Range(begin, end, position)


@get("/experiences", summary="What ended tasks have left, newest first")
async def list_experiences(
    services: Services,
    principal: Principal,
    owner_: Owner = None,
    agent: Value = None,
    skill: Value = None,
    mode: Value = None,
    model: Value = None,
    department: Value = None,
    task_type: Value = None,
    error_class: Value = None,
    outcome: Outcome | None = None,
    q: Annotated[str | None, Parameter(max_length=200, description="words that are all in the goal")] = None,
    since: Time = None,
    until: Time = None,
    as_of: AsOf = None,
    limit: Annotated[int, Parameter(ge=1, le=experiences_reads.LIST_MAX)] = 50,
    cursor: Annotated[str | None, Parameter(description="`next_cursor` of the page before")] = None,
) -> ExperiencePage:
    """Those that match all that is asked for. What belonged to a deleted conversation is not told any more."""
    equal = {
        "agent": agent,
        "skill": skill,
        "mode": mode,
        "model": model,
        "department": department,
        "task_type": task_type,
        "error_class": error_class,
        "outcome": outcome,
    }
    end, position = await asked_end(services, until, as_of)
    wanted = Wanted(
        seen_by(services, principal, owner_),
        read_time("since", since) if since is not None else None,
        end,
        {name: storable(value) for name, value in equal.items() if value is not None},
        q or "",
        position,
    )
    before = experiences_reads.parse_cursor(cursor) if cursor else None
    await caught_up(services.log, services.views, *VIEWS)
    found = await experiences_reads.listed(services.reads, wanted, limit=limit + 1, before=before)
    page = found[:limit]
    following = str(page[-1].cursor) if len(found) > limit else None
    return ExperiencePage([shown_experience(one) for one in page], following)


@get("/experiences/{experience_id:uuid}", summary="One experience")
async def get_experience(
    services: Services, principal: Principal, experience_id: UUID, owner_: Owner = None
) -> ShownExperience:
    """Its id is that of the task. 404 until the task has ended."""
    owner = seen_by(services, principal, owner_)
    await caught_up(services.log, services.views, *VIEWS)
    found = await experiences_reads.get(services.reads, experience_id, owner=owner)
    if found is None:
        raise NotFoundException(text("no_experience", services.options.locale, id=str(experience_id)))
    return shown_experience(found)


@get("/metrics", summary="What ended in a range of time, in figures")
async def get_metrics(
    services: Services,
    principal: Principal,
    owner_: Owner = None,
    period: Annotated[Period, Parameter(description="up to now, to `until` or to `as_of`")] = "24h",
    since: Time = None,
    until: Time = None,
    as_of: AsOf = None,
    zone: Annotated[
        str, Parameter(max_length=64, description="IANA time zone in which the timeline's days begin")
    ] = "UTC",
    by: Annotated[
        Dimension | Literal["tool"] | None, Parameter(description="groups of this have durations too")
    ] = None,
    agent: Value = None,
    skill: Value = None,
    mode: Value = None,
    model: Value = None,
    department: Value = None,
    task_type: Value = None,
) -> ShownMetrics:
    """Exact for every range. At most one of agent, skill, mode, model, department and task_type narrows it."""
    locale = services.options.locale
    groups = zip(DIMENSIONS, (agent, skill, mode, model, department, task_type), strict=True)
    named: list[tuple[Dimension, str]] = [
        (dimension, storable(value)) for dimension, value in groups if value is not None
    ]
    if len(named) > 1:
        raise ClientException(text("group_one", locale, given=", ".join(dimension for dimension, _ in named)))
    try:
        zone = zone_of(zone).key
    except ZoneUnknown as error:
        raise ClientException(error.sentence(locale)) from None
    owner = seen_by(services, principal, owner_)
    asked = await range_of(services, period, since, until, as_of)
    await caught_up(services.log, services.views, "experiences")
    scope = Scope(asked.since, asked.until, owner, named[0] if named else None, asked.position)
    found = await metrics(services.reads, scope, by=by, zone=zone)
    told = period if since is None else None
    return shown_metrics(found, period=told, zone=zone, owner=owner, bucket=bucket_of(scope))


@get("/pitfalls", summary="Failures of one kind that repeat")
async def get_pitfalls(
    services: Services,
    principal: Principal,
    owner_: Owner = None,
    period: Period = "30d",
    since: Time = None,
    until: Time = None,
    as_of: AsOf = None,
    at_least: Annotated[
        int, Parameter(ge=2, le=1_000_000, description="how often it has to have failed")
    ] = 3,
    limit: Annotated[int, Parameter(ge=1, le=100)] = 20,
) -> PitfallPage:
    """Tasks of one type by one agent that failed in the same way, and tools whose calls failed."""
    owner = seen_by(services, principal, owner_)
    asked = await range_of(services, period, since, until, as_of)
    await caught_up(services.log, services.views, *VIEWS)
    found = await lessons.pitfalls(
        services.reads,
        owner=owner,
        since=asked.since,
        until=asked.until,
        position=asked.position,
        at_least=at_least,
        limit=limit,
    )
    return PitfallPage(asked.since, asked.until, found)


evolution_router = Router(
    path="/api/v1/evolution",
    route_handlers=[list_experiences, get_experience, get_metrics, get_pitfalls],
    tags=["evolution"],
)
