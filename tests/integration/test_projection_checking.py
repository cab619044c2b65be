"""`check` finds whatever in a view is not what the log says, and names the row."""

import psycopg
import pytest

from app.core import events as ev
from projections import ALL, conversations, experiences, tasks
from projections.checking import Difference, check, check_all
from projections.runner import ProjectionRunner
from tests.support.projected import Book, requested, task, write


@pytest.fixture
def folded(dsn: str) -> str:
    book = Book()
    for number in range(4):
        book.add(ev.MessageReceived(f"m{number}", "question"), stream=f"conversation/alice/c{number}")
        book.add(requested(), task(number), f"conversation/alice/c{number}")
        book.add(ev.RunCompleted(1), task(number), f"conversation/alice/c{number}")
    write(dsn, book.recorded)
    ProjectionRunner(dsn).run_to_end()
    return dsn


def test_views_that_are_right_are_fine_although_folding_goes_on(folded: str) -> None:
    found = check_all(folded, ALL)
    assert [(one.problem, one.differences) for one in found] == [("", 0)] * len(ALL)
    by_name = {one.name: one for one in found}
    assert (by_name["tasks"].rows, by_name["tasks"].position) == (4, 12)


@pytest.mark.parametrize(
    ("statement", "difference"),
    [
        (
            "DELETE FROM conversations WHERE conversation_id = 'c2'",
            Difference({"owner": "alice", "conversation_id": "c2"}, "missing"),
        ),
        (
            "UPDATE conversations SET title = 'x', message_count = 9 WHERE conversation_id = 'c2'",
            Difference({"owner": "alice", "conversation_id": "c2"}, "changed", ("title", "message_count")),
        ),
        (
            'INSERT INTO conversations SELECT (json_populate_record(c, \'{"conversation_id":"c9"}\')).* '
            "FROM conversations c WHERE conversation_id = 'c2'",
            Difference({"owner": "alice", "conversation_id": "c9"}, "surplus"),
        ),
    ],
)
def test_a_row_changed_by_hand_is_found_and_named(
    folded: str, statement: str, difference: Difference
) -> None:
    with psycopg.connect(folded, autocommit=True) as connection:
        connection.execute(statement.encode())
    found = check(folded, conversations.PROJECTION)
    assert (found.differences, found.fine) == (1, False)
    (shown,) = found.shown
    assert (shown.key, shown.kind, sorted(shown.columns)) == (
        difference.key,
        difference.kind,
        sorted(difference.columns),
    )


@pytest.mark.parametrize(
    ("statement", "table", "kind"),
    [
        (
            "DELETE FROM experience_sums WHERE grain = 'day' AND dimension = 'agent'",
            "experience_sums",
            "missing",
        ),
        (
            "UPDATE experience_durations SET runs = runs + 1 WHERE grain = 'day' AND dimension = 'agent'",
            "experience_durations",
            "changed",
        ),
    ],
)
def test_a_sum_changed_by_hand_is_found_named_and_repaired(
    folded: str, statement: str, table: str, kind: str
) -> None:
    """The tables beside a view are checked and rebuilt with it."""
    with psycopg.connect(folded, autocommit=True) as connection:
        connection.execute(statement.encode())
    (shown,) = check(folded, experiences.PROJECTION).shown
    assert (shown.table, shown.kind) == (table, kind)
    assert (shown.key["dimension"], shown.key["value"]) == ("agent", "assistant")
    ProjectionRunner(folded).rebuild("experiences")
    assert check(folded, experiences.PROJECTION).fine


def test_a_view_that_is_behind_is_compared_where_it_is(folded: str) -> None:
    book = Book(after=12)
    book.add(requested(), task(9), "conversation/alice/c9")
    write(folded, book.recorded)
    found = check(folded, tasks.PROJECTION)
    assert (found.position, found.differences) == (12, 0)


def test_a_table_of_another_version_is_said_to_be_one(folded: str) -> None:
    with psycopg.connect(folded, autocommit=True) as connection:
        connection.execute("UPDATE projection_checkpoints SET version = 99 WHERE name = 'tasks'")
    assert "no table of this version" in check(folded, tasks.PROJECTION).problem
