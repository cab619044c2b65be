"""Periods of the calendar, when a quota is used up, and what people are told of it."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.auth.principal import Principal
from app.core.admin_events import QuotaInfo, QuotaPeriod, QuotaSet
from app.core.quotas import CALL_TYPES, MESSAGE_TYPES, Tally, Used, end_of, reached, sentence_of, start_of
from app.runs.quotas import Charge, charge_of
from app.runs.refused import QuotaExceeded

AT = datetime(2026, 2, 28, 23, 59, 59, 999_999, tzinfo=UTC)
PERIODS: tuple[QuotaPeriod, ...] = ("hour", "day", "month")
TALLY = Tally(AT, Used(1, 10, 0.1), Used(2, 20, 0.2), Used(3, 30, 0.3))


def quota(kind: str, limit: float, period: QuotaPeriod = "hour", subject: str = "department") -> QuotaSet:
    return QuotaSet(subject, "sales", kind, period, limit)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("period", "start", "end"),
    [
        ("hour", datetime(2026, 2, 28, 23, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)),
        ("day", datetime(2026, 2, 28, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)),
        ("month", datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)),
    ],
)
def test_periods_are_those_of_the_calendar(period: QuotaPeriod, start: datetime, end: datetime) -> None:
    assert (start_of(period, AT), end_of(period, AT)) == (start, end)


def test_a_time_of_another_zone_is_in_the_period_of_utc() -> None:
    east = datetime(2026, 1, 1, 5, 30, tzinfo=timezone(timedelta(hours=8)))
    assert start_of("month", east) == datetime(2025, 12, 1, tzinfo=UTC)
    assert end_of("month", east) == datetime(2026, 1, 1, tzinfo=UTC)
    assert start_of("hour", east).isoformat() == "2025-12-31T21:00:00+00:00"


@given(
    st.floats(0, 2**32).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)), st.sampled_from(PERIODS)
)
def test_every_moment_is_in_one_period_and_the_next_begins_where_it_ends(
    at: datetime, period: QuotaPeriod
) -> None:
    start, end = start_of(period, at), end_of(period, at)
    assert start <= at < end
    assert start_of(period, start) == start
    assert start_of(period, end) == end
    assert start_of(period, end - timedelta(microseconds=1)) == start


def test_a_quota_is_used_up_when_as_much_as_its_limit_was_used() -> None:
    assert reached([quota("tokens", 10.5)], TALLY, CALL_TYPES) is None
    found = reached([quota("tokens", 10)], TALLY, CALL_TYPES)
    assert found is not None
    assert found.info == QuotaInfo("sales", "tokens", "hour", 10, 10)
    assert found.resets_at == datetime(2026, 3, 1, tzinfo=UTC)


def test_a_limit_of_nothing_is_used_up_at_once() -> None:
    assert reached([quota("cost", 0)], Tally(AT), CALL_TYPES) is not None


def test_a_user_s_own_quota_names_no_department() -> None:
    found = reached([quota("cost", 0.3, "month", "user")], TALLY, CALL_TYPES)
    assert found is not None
    assert found.info == QuotaInfo("", "cost", "month", 0.3, 0.3)


def test_a_model_call_uses_no_requests() -> None:
    quotas = [quota("requests", 1)]
    assert reached(quotas, TALLY, CALL_TYPES) is None
    assert reached(quotas, TALLY, MESSAGE_TYPES) is not None


def test_of_several_the_one_that_lasts_longest_is_told() -> None:
    quotas = [quota("tokens", 1, "hour"), quota("cost", 0.1, "month"), quota("requests", 1, "day")]
    found = reached(quotas, Tally(datetime(2026, 2, 3, 4, tzinfo=UTC), *[Used(9, 9, 9)] * 3), MESSAGE_TYPES)
    assert found is not None
    assert found.quota == quotas[1]


def test_retry_after_never_says_too_soon() -> None:
    found = reached([quota("requests", 1)], TALLY, MESSAGE_TYPES)
    assert found is not None
    assert QuotaExceeded(found).seconds_left == 1
    early = reached(
        [quota("requests", 0)], Tally(AT.replace(minute=10, second=0, microsecond=1)), MESSAGE_TYPES
    )
    assert early is not None
    assert QuotaExceeded(early).seconds_left == 50 * 60


def test_people_are_told_in_their_language_what_is_used_up_and_until_when() -> None:
    found = reached([quota("tokens", 10)], TALLY, CALL_TYPES)
    assert found is not None
    assert sentence_of(found, "en") == (
        "Your department has used up its 10 tokens for this hour; more is possible from 2026-03-01 00:00 UTC on."
    )
    assert (
        sentence_of(found, "zh")
        == "您所在部门本小时的配额（10 个 token）已用完，2026-03-01 00:00 UTC 起可继续使用。"
    )
    own = reached([quota("cost", 0.25, "month", "user")], TALLY, CALL_TYPES)
    assert own is not None
    assert (
        QuotaExceeded(own).sentence("en").startswith("You have used up your 0.25 US dollars for this month;")
    )


@pytest.mark.parametrize(
    ("principal", "charge"),
    [
        (Principal("ana", "member", "sales"), Charge("sales", "sales", bound=True)),
        (Principal("ana", "member"), Charge("", "", bound=True)),
        (Principal("root", "admin", "sales"), Charge("sales", "", bound=False)),
        (Principal("bot", "member", "sales", service=True), Charge("sales", "", bound=False)),
    ],
)
def test_members_pay_and_admins_and_service_keys_do_not(principal: Principal, charge: Charge) -> None:
    assert charge_of(principal) == charge
