"""When reminders are due: times, cron expressions, time zones, and the days on which clocks change."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.runs.refused import Refused
from app.runs.reminder_times import (
    AtFar,
    AtInvalid,
    AtPast,
    CronInvalid,
    CronNever,
    ZoneUnknown,
    next_time,
    time_of,
    written,
)

NOON = datetime(2026, 3, 28, 12, tzinfo=UTC)


def at(shown: str) -> datetime:
    return datetime.fromisoformat(shown)


@pytest.mark.parametrize(
    ("cron", "zone", "after", "expected"),
    [
        ("* * * * *", "UTC", "2026-03-28T12:00:30Z", "2026-03-28T12:01:00Z"),
        ("30 9 * * MON-FRI", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-30T07:30:00Z"),
        ("0 9 * * *", "Asia/Shanghai", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z"),
        ("0 0 29 2 *", "UTC", "2026-03-28T12:00:00Z", "2028-02-29T00:00:00Z"),
        # The clocks go forward: 2:30 is left out, and 9:00 stays 9:00.
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z"),
        ("0 9 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T07:00:00Z"),
        ("0 9 * * *", "Europe/Berlin", "2026-03-27T12:00:00Z", "2026-03-28T08:00:00Z"),
        # The clocks go back: 2:30 comes twice and is once.
        ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z"),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", "2026-10-26T01:30:00Z"),
        # What is every half hour goes on so through both.
        ("*/30 * * * *", "Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z"),
        ("*/30 * * * *", "Europe/Berlin", "2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z"),
    ],
)
def test_the_next_time_is_that_of_the_zone(cron: str, zone: str, after: str, expected: str) -> None:
    assert written(next_time(cron, zone, at(after))) == expected


FIELDS = st.lists(st.sampled_from([*"0123456789*,-/L#", "MON", "JAN", "LW", "60"]), max_size=5).map("".join)
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kathmandu"])


@given(
    cron=st.lists(FIELDS, min_size=5, max_size=5).map(" ".join) | st.text(max_size=20),
    zone=ZONES,
    after=st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
)
def test_whatever_is_given_is_a_later_time_at_a_full_minute_or_refused(
    cron: str, zone: str, after: datetime
) -> None:
    try:
        found = next_time(cron, zone, after)
    except Refused:
        return
    assert found > after
    assert (found.second, found.microsecond) == (0, 0)


@given(zone=ZONES, hour=st.integers(0, 23), day=st.integers(0, 365 * 4))
def test_what_is_daily_is_once_a_day_all_year(zone: str, hour: int, day: int) -> None:
    after = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=day)
    first = next_time(f"15 {hour} * * *", zone, after)
    second = next_time(f"15 {hour} * * *", zone, first)
    assert timedelta(hours=22, minutes=59) <= second - first <= timedelta(hours=25, minutes=1)


@pytest.mark.parametrize(
    ("cron", "zone", "error"),
    [
        ("* * * * * *", "UTC", CronInvalid),  # seconds: more than once a minute
        ("@daily", "UTC", CronInvalid),
        ("61 * * * *", "UTC", CronInvalid),
        ("0 0 30 2 *", "UTC", CronInvalid),
        ("0 0 */28 2 1#5", "UTC", CronNever),  # a fifth Monday: the next one is in 2044
        ("* " * 200, "UTC", CronInvalid),
        ("", "UTC", CronInvalid),
        ("* * * * *", "Mars/Olympus", ZoneUnknown),
        ("* * * * *", "../../etc/passwd", ZoneUnknown),
        ("* * * * *", "America", ZoneUnknown),
        ("* * * * *", "UTC\0", ZoneUnknown),
        ("* * * * *", "x" * 10_000, ZoneUnknown),
        ("* * * * *", "", ZoneUnknown),
    ],
)
def test_what_is_no_expression_or_zone_is_told_so(cron: str, zone: str, error: type[Refused]) -> None:
    with pytest.raises(error):
        next_time(cron, zone, NOON)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("2026-03-28T12:00:01Z", "2026-03-28T12:00:01Z"),
        ("2026-03-28T14:30:00.5+02:00", "2026-03-28T12:30:00.500000Z"),
        ("2026-03-28T11:59:56Z", "2026-03-28T11:59:56Z"),
    ],
)
def test_a_time_with_its_offset_is_taken_a_few_seconds_late_too(given: str, expected: str) -> None:
    assert written(time_of(given, NOON)) == expected


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ("2026-03-28T11:59:54Z", AtPast),
        ("2037-03-28T12:00:00Z", AtFar),
        ("2026-03-29T12:00:00", AtInvalid),
        ("2026-03-29", AtInvalid),
        ("9999-12-31T23:59:59-23:59", AtInvalid),
        ("tomorrow", AtInvalid),
        ("2" * 10_000, AtInvalid),
    ],
)
def test_any_other_time_is_refused(given: str, error: type[Refused]) -> None:
    with pytest.raises(error):
        time_of(given, NOON)
