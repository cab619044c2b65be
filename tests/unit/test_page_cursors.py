"""Cursors of lists: one form, what was plain once still works, and what is none is refused in the reader's language."""

import string
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest

from app.api.admin_wire import page_of
from projections import experiences_reads, page_cursors, sessions_reads, tasks_reads
from projections.page_cursors import InvalidPageCursor

AT = datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
KEY = UUID("00000000-0000-4000-8000-00000000000a")
URL_SAFE = set(string.ascii_letters + string.digits + "-_")
CURSORS = (
    tasks_reads.Cursor(AT, KEY),
    sessions_reads.Cursor(AT, "中~a b"),
    experiences_reads.Cursor(AT, KEY),
)
PARSERS: tuple[Callable[[str], object], ...] = (
    tasks_reads.parse_cursor,
    sessions_reads.parse_cursor,
    experiences_reads.parse_cursor,
    page_cursors.offset_of,
)


@pytest.mark.parametrize(("cursor", "parse"), list(zip(CURSORS, PARSERS, strict=False)))
def test_every_list_by_time_has_cursors_of_one_form(cursor: object, parse: Callable[[str], object]) -> None:
    assert set(str(cursor)) <= URL_SAFE
    assert parse(str(cursor)) == cursor


@pytest.mark.parametrize("written", [f"2026-01-01T12:00:00.123456Z~{KEY}", f"{AT.isoformat()}~{KEY}"])
def test_a_plain_cursor_of_tasks_that_a_client_still_holds_works(written: str) -> None:
    assert tasks_reads.parse_cursor(written) == CURSORS[0]


@pytest.mark.parametrize("offset", [0, 7, 42, 123_456_789_012_345_678])
def test_offsets_are_packed_and_plain_ones_still_work(offset: int) -> None:
    cursor = page_cursors.offset_cursor(offset)
    assert not cursor.isdigit()
    assert set(cursor) <= URL_SAFE
    assert page_cursors.offset_of(cursor) == page_cursors.offset_of(str(offset)) == offset


def test_lists_by_name_go_on_behind_packed_and_plain_names() -> None:
    """Also where a name looks like a packed one: then what is handed out wins."""
    names = ["a/b", "c d", page_cursors.packed("a/b"), "中"]
    page, total, following = page_of(names, str, limit=1, cursor=None)
    assert (page, total, following) == (["a/b"], 4, page_cursors.packed("a/b"))
    assert page_of(names, str, limit=9, cursor=following)[0] == names[1:]
    assert page_of(names, str, limit=9, cursor="c d")[0] == names[2:]
    assert page_of(names, str, limit=9, cursor="中")[0] == []
    with pytest.raises(InvalidPageCursor):
        page_of(names, str, limit=9, cursor=page_cursors.packed("nobody"))


@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize(
    "wrong",
    [
        "x",
        "%",
        "中",
        "\0",
        "-1",
        "٣",
        "a" * 5_000,
        "9" * 19,
        page_cursors.packed("9" * 19),
        page_cursors.packed("٣"),
        page_cursors.packed("nothing"),
        page_cursors.packed("2026-01-01T00:00:00~x"),
        page_cursors.packed("2026-01-01T00:00:00Z~"),
        page_cursors.encoded(datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))), KEY),
        f"2026-01-01T00:00:00Z~{'x' * 5_000}",
    ],
)
def test_what_is_no_cursor_is_refused_in_both_languages(parse: Callable[[str], object], wrong: str) -> None:
    with pytest.raises(InvalidPageCursor, match="is not a cursor") as refused:
        parse(wrong)
    assert "不是此列表的游标" in refused.value.sentence("zh")
    assert repr(wrong[:40]) in refused.value.sentence("zh")
