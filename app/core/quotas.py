"""Quotas as values: periods of the calendar in UTC, what was used in them, and whether that reaches a limit."""

from collections.abc import Container, Iterable
from datetime import UTC, datetime, timedelta
from typing import assert_never

import msgspec

from app.core.admin_events import QuotaInfo, QuotaPeriod, QuotaSet, QuotaSubject, QuotaType
from app.core.texts import Locale, text

QUOTA_EXCEEDED = "quota_exceeded"
"""The error class of a run that a quota has ended."""
CALL_TYPES: frozenset[QuotaType] = frozenset({"tokens", "cost"})
"""What a model call uses; a message uses requests."""
MESSAGE_TYPES: frozenset[QuotaType] = frozenset({"requests", "tokens", "cost"})
"""What has to be left for a message to be taken."""


class Used(msgspec.Struct, frozen=True):
    """What was used in a period: messages taken, tokens of model calls, and their cost in US dollars."""

    requests: int = 0
    tokens: int = 0
    cost_usd: float = 0.0

    def of(self, quota_type: QuotaType) -> float:
        match quota_type:
            case "requests":
                return self.requests
            case "tokens":
                return self.tokens
            case "cost":
                return self.cost_usd
            case _ as never:
                assert_never(never)


class Tally(msgspec.Struct, frozen=True):
    """What a subject has used in the hour, day and month that `at` is in."""

    at: datetime
    hour: Used = Used()
    day: Used = Used()
    month: Used = Used()

    def within(self, period: QuotaPeriod) -> Used:
        match period:
            case "hour":
                return self.hour
            case "day":
                return self.day
            case "month":
                return self.month
            case _ as never:
                assert_never(never)


class Reached(msgspec.Struct, frozen=True):
    """A quota that is used up, and when its period ends."""

    quota: QuotaSet
    info: QuotaInfo
    at: datetime
    resets_at: datetime

    @property
    def subject(self) -> QuotaSubject:
        return self.quota.subject

    @property
    def seconds_left(self) -> int:
        """Until the period ends, rounded up, at least 1."""
        return max(1, -((self.at - self.resets_at) // timedelta(seconds=1)))


def start_of(period: QuotaPeriod, at: datetime) -> datetime:
    """The beginning of the hour, day or month that `at` is in."""
    utc = at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    match period:
        case "hour":
            return utc
        case "day":
            return utc.replace(hour=0)
        case "month":
            return utc.replace(hour=0, day=1)
        case _ as never:
            assert_never(never)


def end_of(period: QuotaPeriod, at: datetime) -> datetime:
    """The beginning of the next hour, day or month."""
    start = start_of(period, at)
    match period:
        case "hour":
            return start + timedelta(hours=1)
        case "day":
            return start + timedelta(days=1)
        case "month":
            return start_of("month", start + timedelta(days=32))
        case _ as never:
            assert_never(never)


def current_of(quota: QuotaSet, tally: Tally) -> float:
    """How much of the quota is used by now."""
    return tally.within(quota.period).of(quota.quota_type)


def info_of(quota: QuotaSet, tally: Tally) -> QuotaInfo:
    department = quota.subject_id if quota.subject == "department" else ""
    return QuotaInfo(department, quota.quota_type, quota.period, quota.limit, current_of(quota, tally))


def reached(quotas: Iterable[QuotaSet], tally: Tally, types: Container[QuotaType]) -> Reached | None:
    """Of these quotas of one subject that are used up, the one that stays so for longest; None while all have something
    left."""
    found = [
        Reached(quota, info_of(quota, tally), tally.at, end_of(quota.period, tally.at))
        for quota in quotas
        if quota.quota_type in types and current_of(quota, tally) >= quota.limit
    ]
    return max(found, key=lambda one: one.resets_at, default=None)


def sentence_of(one: Reached, locale: Locale) -> str:
    """One sentence for whoever has asked."""
    return text(
        f"quota_reached_{one.subject}",
        locale,
        limit=_number(one.quota.limit),
        what=text(f"quota_{one.quota.quota_type}", locale),
        period=text(f"quota_{one.quota.period}", locale),
        until=one.resets_at.strftime("%Y-%m-%d %H:%M UTC"),
    )


def _number(value: float) -> str:
    """Whole numbers without a point, others with six digits."""
    return f"{value:.0f}" if float(value).is_integer() else f"{value:g}"
