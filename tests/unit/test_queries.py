"""Times in queries: one way to read them, and one sentence for what is none."""

from datetime import UTC, datetime, timedelta

import pytest

from app.api.past import parse_as_of
from app.api.queries import EARLIEST, LATEST, InvalidQuery, read_time
from projections.moments import AtOffset, AtPosition, AtTime

NINE = datetime(2026, 1, 31, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("given", "time"),
    [
        ("2026-01-31T09:00:00Z", NINE),
        ("2026-01-31T09:00Z", NINE),
        ("2026-01-31t09:00:00z", NINE),
        (" 2026-01-31T09:00:00Z ", NINE),
        ("2026-01-31T10:00:00+01:00", NINE),
        ("2026-01-31T10:00:00 01:00", NINE),
        ("2026-01-31T10:00:00+0100", NINE),
        ("2026-01-31T01:00:00-08:00", NINE),
        ("2026-01-31T09:00:00.5Z", NINE + timedelta(milliseconds=500)),
        ("2026-01-31T09:00:00.123456789Z", NINE + timedelta(microseconds=123_456)),
        ("0001-01-01T00:00:00+14:00", EARLIEST),
        ("9999-12-31T23:59:59-12:00", LATEST),
    ],
)
def test_a_time_means_the_same_wherever_it_stands(given: str, time: datetime) -> None:
    """The blank is a plus sign that was not escaped."""
    assert read_time("since", given) == time
    assert parse_as_of(given) == AtTime(time)


@pytest.mark.parametrize(
    "given",
    [
        "2026-01-31",
        "2026-01-31T09:00:00",
        "2026-01-31 09:00:00Z",
        "2026-13-31T09:00:00Z",
        "2026-02-30T09:00:00Z",
        "2026-01-31T25:00:00Z",
        "2026-01-31T09:00:00+99:00",
        "2026-01-31T09:00:00.Z",
        "2026-01-31T09:00:00Z" + "0" * 5_000,
        "٢026-01-31T09:00:00Z",
        "26-01-31T09:00:00Z",
    ],
)
def test_what_is_no_time_is_told_in_one_sentence(given: str) -> None:
    told: list[tuple[str, str]] = []
    for name in ("since", "until"):
        with pytest.raises(InvalidQuery) as refused:
            read_time(name, given)
        told.append((refused.value.sentence("en"), refused.value.sentence("zh")))
    if given[0] in "0123456789":
        with pytest.raises(InvalidQuery) as refused:
            parse_as_of(given)
        told.append((refused.value.sentence("en"), refused.value.sentence("zh")))
    assert told[0][0].startswith(f"since={given[:40]!r} is not a time with its zone; write it like ")
    english, chinese = ({one.partition("=")[2] for one in sentences} for sentences in zip(*told, strict=True))
    assert len(english) == len(chinese) == 1
    assert "不是带时区的有效时间" in chinese.pop()


def test_a_moment_is_also_an_offset_or_a_position_and_nothing_else() -> None:
    assert parse_as_of("offset:120") == AtOffset(120)
    assert parse_as_of("position:4711") == AtPosition(4711)
    for given in ("", "yesterday", "120", "offset:-1", "offset:1e3", "offset:١", "\0"):
        with pytest.raises(InvalidQuery, match="position:4711") as refused:
            parse_as_of(given)
        assert "不是有效时刻" in refused.value.sentence("zh")
