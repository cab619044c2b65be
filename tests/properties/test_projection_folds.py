"""However a log is cut into pages, and wherever folding is cut off, the tables are the fold of the log."""

from collections.abc import Iterable
from itertools import chain, repeat
from typing import Any

import msgspec
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from projections import ALL, conversations, transcript
from projections.derived import Derived, Tally
from projections.pages import connect, decode_page, read_page
from projections.projection import AnyProjection, fold, fold_all, touched_by
from projections.runner import ProjectionRunner
from projections.tables import Table
from tests.support.projected import Book, books, one_of_each, shown_counts, write


class Sums:
    """What the tallies of a projection have come to."""

    def __init__(self) -> None:
        self.found: dict[tuple[object, ...], tuple[int, ...]] = {}

    def add(self, tallies: Iterable[Tally], derived: Derived) -> None:
        for tally in tallies:
            for key, values in derived.sums(tally).items():
                known = self.found.get((tally.name, *key), (0,) * len(values))
                self.found[tally.name, *key] = tuple(map(sum, zip(known, values, strict=True)))

    @classmethod
    def of(cls, projection: AnyProjection, book: Book) -> "Sums":
        """Of all events at once."""
        sums, entries = cls(), book.page(projection).entries
        sums.add(projection.tallies, fold(projection, {}, entries, touched_by(projection, entries)).derived)
        return sums

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sums):
            return NotImplemented
        mine, theirs = (
            {key: values for key, values in one.found.items() if any(values)} for one in (self, other)
        )
        return mine == theirs

    __hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize("projection", ALL, ids=lambda projection: projection.name)
@settings(max_examples=60)
@given(book=books(), sizes=st.lists(st.integers(1, 9), min_size=1))
def test_any_paging_gives_the_same_rows(projection: AnyProjection, book: Book, sizes: list[int]) -> None:
    table: dict[tuple[object, ...], msgspec.Struct] = {}
    sums = Sums()
    for page in book.pages(projection, chain(sizes, repeat(7))):
        touched = touched_by(projection, page.entries)
        # Only what is said to be needed is at hand, as it would be from a query.
        stored = {key: table[key] for key in touched.needed if key in table}
        result = fold(projection, stored, page.entries, touched)
        assert result.poison is None
        gone = [
            key for key, row in table.items() if any(projection.in_scope(row, s) for s in result.forgotten)
        ]
        for key in gone:
            del table[key]
        sums.add(projection.tallies, result.derived)
        table.update(result.rows)
        table = {key: row for key, row in table.items() if row is not None}
    assert table == fold_all(projection, book.page(projection).entries)
    assert sums == Sums.of(projection, book)


def test_the_books_have_every_event_that_a_projection_folds() -> None:
    """Guard: what no book has is folded by no test of this file."""
    there = {recorded.type for recorded in one_of_each(rounds=100).recorded}
    lacking = set().union(*(projection.handles for projection in ALL)) - there
    assert not lacking, f"tests/support/projected.py makes no {lacking}: give each a place in `_KINDS`"


@given(book=books())
def test_list_and_transcript_agree(book: Book) -> None:
    listed = fold_all(conversations.PROJECTION, book.page(conversations.PROJECTION).entries)
    cards = fold_all(transcript.PROJECTION, book.page(transcript.PROJECTION).entries)
    counted = {key: row.message_count for key, row in listed.items() if row.message_count}
    assert counted == dict(shown_counts(cards.values()))


EVENTS_MAX = 100_000


def sums_in(connection: psycopg.Connection[Any], tally: Tally) -> dict[tuple[object, ...], tuple[int, ...]]:
    columns = ", ".join((*tally.key, *tally.sums))
    rows = connection.execute(f"SELECT {columns} FROM {tally.name}".encode()).fetchall()
    return {row[: len(tally.key)]: row[len(tally.key) :] for row in rows}


def log_position(dsn: str) -> int:
    """The examples of a test share one log; each writes behind the ones before, into conversations of its own."""
    with connect(dsn) as connection:
        row = connection.execute("SELECT position FROM partitions").fetchone()
    return row[0] if row else 0


class PowerCut(BaseException):
    """The process is gone."""


def failing(projection: AnyProjection, calls: int) -> AnyProjection:
    """The projection, in a process that dies at this call of `apply`."""
    left = calls

    def apply(*arguments: object) -> object:
        nonlocal left
        left -= 1
        if left < 0:
            raise PowerCut
        return projection.apply(*arguments)

    return msgspec.structs.replace(projection, apply=apply)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_tables_are_the_fold_wherever_it_is_cut_off(dsn: str, data: st.DataObject) -> None:
    position = log_position(dsn)
    book = data.draw(books(after=position, scope=f"p{position}-"))
    write(dsn, book.recorded)
    for calls, page_events in data.draw(
        st.lists(st.tuples(st.integers(0, 12), st.integers(1, 9)), max_size=4)
    ):
        try:
            dying = [failing(projection, calls) for projection in ALL]
            ProjectionRunner(dsn, dying, page_events=page_events).run_to_end()
        except PowerCut:
            pass
    statuses = ProjectionRunner(dsn, page_events=data.draw(st.integers(1, 50))).run_to_end()
    assert all(status.behind == 0 and status.stopped is None for status in statuses)
    with connect(dsn) as connection:
        log = read_page(connection, 0, 0, EVENTS_MAX)
        assert len(log) < EVENTS_MAX
        for projection in ALL:
            stored = Table(projection).load_all(connection)
            entries = decode_page(log, projection.handles).entries if log else []
            assert stored == fold_all(projection, entries)
            derived = fold(projection, {}, entries, touched_by(projection, entries)).derived
            for tally in projection.tallies:
                assert sums_in(connection, tally) == derived.sums(tally)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(projection=st.sampled_from(ALL), data=st.data())
def test_a_rebuilt_table_is_the_same(dsn: str, projection: AnyProjection, data: st.DataObject) -> None:
    position = log_position(dsn)
    book = data.draw(books(after=position, scope=f"p{position}-"))
    write(dsn, book.recorded)
    runner = ProjectionRunner(dsn, page_events=25)
    runner.run_to_end()
    with connect(dsn) as connection, psycopg.connect(dsn, autocommit=True) as other:
        table = Table(projection)
        before = table.load_all(connection)
        some = f"SELECT ctid FROM {projection.name} ORDER BY ctid LIMIT 3"
        other.execute(f"DELETE FROM {projection.name} WHERE ctid IN ({some})")
        assert runner.rebuild(projection.name).behind == 0
        assert table.load_all(connection) == before
