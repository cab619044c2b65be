"""`minutebook project` and `minutebook check` on a database that a service may be using."""

from collections.abc import Callable

import msgspec
import psycopg
import pytest
from click.testing import Result

from app.commands.project import check_command, project_group
from app.core import events as ev
from projections import ALL, tasks
from projections.runner import ProjectionRunner
from tests.support.commands import invoke
from tests.support.projected import Book, requested, task, write


@pytest.fixture
def run(dsn: str) -> Callable[..., Result]:
    book = Book()
    book.add(ev.MessageReceived("m", "question"))
    book.add(requested(), task(1))
    book.add(ev.RunCompleted(1), task(1))
    write(dsn, book.recorded)

    return lambda command, *arguments: invoke(command, dsn, *arguments)


def test_status_says_how_late_each_view_is(run: Callable[..., Result], dsn: str) -> None:
    late = run(project_group, "status", "--json")
    assert late.exit_code == 0
    rows = [msgspec.json.decode(line) for line in late.output.splitlines()]
    assert [row["name"] for row in rows] == [projection.name for projection in ALL]
    assert {row["events"] for row in rows} == {3}
    assert all(row["seconds"] > 0 for row in rows)
    ProjectionRunner(dsn).run_to_end()
    assert "position 3          0 events, 0:00:00 behind" in run(project_group, "status").output


def test_a_stopped_view_names_its_event_and_can_be_tried_again(run: Callable[..., Result], dsn: str) -> None:
    def refuse(*arguments: object) -> object:
        raise ValueError("I cannot read this")

    ProjectionRunner(dsn, [msgspec.structs.replace(tasks.PROJECTION, apply=refuse)]).run_to_end()
    shown = run(project_group, "status")
    assert shown.exit_code == 1
    assert "STOPPED: position 2 (run.requested): ValueError: I cannot read this" in shown.output
    assert run(project_group, "retry", "tasks").output == "tasks is tried again.\n"
    assert run(project_group, "retry", "tasks").output == "tasks has not stopped.\n"


def test_a_row_deleted_by_hand_is_named_put_on_record_and_repaired(
    run: Callable[..., Result], dsn: str
) -> None:
    ProjectionRunner(dsn).run_to_end()
    assert run(check_command).exit_code == 0
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("DELETE FROM tasks")
        found = run(check_command, "tasks", "--record")
        assert found.exit_code == 1
        assert f"task_id={task(1)}: missing" in found.output
        row = connection.execute("SELECT payload FROM events WHERE type = 'projection.checked'").fetchone()
    assert row is not None
    assert (row[0]["name"], row[0]["differences"]) == ("tasks", 1)
    wrong = run(project_group, "status")
    assert wrong.exit_code == 1
    assert [line.split()[0] for line in wrong.output.splitlines() if "  WRONG in 1 rows on 20" in line] == [
        "tasks"
    ]
    assert run(project_group, "rebuild", "tasks").output.endswith("tasks is built anew, up to position 4.\n")
    assert "ok   tasks: 1 rows" in run(check_command, "tasks", "--record").output
    shown = run(project_group, "status", "--json")
    assert shown.exit_code == 0
    checked = {row["name"]: row["checked"] for row in map(msgspec.json.decode, shown.output.splitlines())}
    assert checked.pop("tasks")["differences"] == 0
    assert set(checked.values()) == {None}
    assert ", right on 20" in run(project_group, "status").output
