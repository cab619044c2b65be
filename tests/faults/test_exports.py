"""An export of a table that is killed, loses its connections, or is met by those who change the views.

Whatever happens, the same command goes on, and what comes out is what an undisturbed export gives, byte for byte.
"""

import signal
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from app.transfer.table_export import Exported, export_table
from app.transfer.table_formats import Form
from app.transfer.table_parts import Manifest
from app.transfer.table_reading import Span, ViewStopped
from app.transfer.tables import SUBJECTS
from projections.runner import ProjectionRunner, ProjectionStatus
from tests.support.exports import Moment, files_of, held_export, make_parts_small
from tests.support.projected import write
from tests.support.working_week import working_week

SECONDS_MAX = 60.0
POSITION = 714
OTHERS = "datname = current_database() AND pid <> pg_backend_pid()"


@pytest.fixture
def week(dsn: str) -> None:
    write(dsn, working_week())


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    make_parts_small(monkeypatch.setattr)


def export(dsn: str, subject: str, form: Form, folder: Path, **options: object) -> Exported:
    return export_table(dsn, SUBJECTS[subject], form, Span(), folder, **options)  # type: ignore[arg-type]


def go_on(dsn: str) -> None:
    """The log and its views."""
    with psycopg.connect(dsn) as connection:
        (newest,) = connection.execute("SELECT position FROM partitions").fetchone() or (0,)
    write(dsn, working_week(1, after=newest, seed=newest))
    ProjectionRunner(dsn).run_to_end()


def kill(dsn: str, moment: Moment, number: int, *arguments: object) -> None:
    with held_export(dsn, moment, number, *arguments) as process:
        process.send_signal(signal.SIGKILL)
        assert process.wait(SECONDS_MAX) == -signal.SIGKILL


def lose(dsn: str, moment: Moment, number: int, *arguments: object) -> None:
    """All connections of the process are ended at this moment; it says so, and what to do."""
    with held_export(dsn, moment, number, *arguments) as process:
        with psycopg.connect(dsn) as connection:
            ended = connection.execute(
                f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE {OTHERS}"
            ).fetchall()
        assert set(ended) == {(True,)}
        said, complained = process.communicate(timeout=SECONDS_MAX)
    assert (process.returncode, said) == (1, ""), complained
    assert complained.count("\n") == 1, complained
    line = complained.strip()
    assert line.startswith("Error: the export was interrupted: terminating connection"), line
    assert line.endswith(". Run the same command again to go on.")


@pytest.mark.parametrize(
    ("subject", "form", "moments", "stop"),
    [
        ("events", "parquet", [("renaming", 1), ("renaming", 4), ("writing", 9)], kill),
        ("usage", "csv", [("writing", 10), ("folding", 1), ("renaming", 1)], kill),
        ("experiences", "jsonl", [("renaming", 3), ("folding", 2)], kill),
        ("events", "parquet", [("writing", 9)], lose),
        ("usage", "csv", [("writing", 10), ("folding", 1)], lose),
    ],
)
@pytest.mark.usefixtures("week", "small_parts")
def test_an_export_that_was_stopped_is_completed_as_if_nothing_had_happened(
    dsn: str,
    tmp_path: Path,
    subject: str,
    form: Form,
    moments: list[tuple[Moment, int]],
    stop: Callable[..., None],
) -> None:
    """Though the log and the views go on in between, as soon as the position is on record."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    export(dsn, subject, form, whole)
    for moment, number in moments:
        stop(dsn, moment, number, subject, "--format", form, "--output", broken)
        assert files_of(broken) != files_of(whole)
        if (broken / "_export.json").exists():
            go_on(dsn)
    assert export(dsn, subject, form, broken).manifest.positions == {0: POSITION}
    assert files_of(broken) == files_of(whole)
    assert export(dsn, subject, form, broken).present


def other_waits(dsn: str, other: Future[Any]) -> None:
    """Until it waits for a lock, or has come to its end without."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        waiting = f"SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND {OTHERS}"
        deadline = time.monotonic() + SECONDS_MAX
        while not other.done() and connection.execute(waiting).fetchone() == (0,):
            assert time.monotonic() < deadline, "neither done nor waiting"


@pytest.mark.usefixtures("week", "small_parts")
def test_a_view_that_is_built_anew_meanwhile_is_exported_as_it_was(dsn: str, tmp_path: Path) -> None:
    """Guard: all tables are locked before the snapshot, in which the new table is empty."""
    export(dsn, "usage", "csv", tmp_path / "whole")
    others: list[Future[ProjectionStatus]] = []
    with ThreadPoolExecutor() as threads:

        def rebuild(manifest: Manifest) -> None:
            if not others:  # the departments are being read, the users not yet
                others.append(threads.submit(ProjectionRunner(dsn).rebuild, "usage_by_user"))
                other_waits(dsn, others[0])

        export(dsn, "usage", "csv", tmp_path / "during", written=rebuild)
        others[0].result(SECONDS_MAX)
    assert files_of(tmp_path / "during") == files_of(tmp_path / "whole")


def another_release(dsn: str) -> None:
    """Its views are not those of this one, which folds its own beside them."""
    with psycopg.connect(dsn) as connection:
        connection.execute("UPDATE projection_checkpoints SET version = 9 WHERE name = 'usage_by_user'")
        connection.execute("DELETE FROM usage_by_user")


def lose_lock(dsn: str) -> None:
    """The schema in which an export folds is no longer its own, and the next one that comes has more to fold."""
    with psycopg.connect(dsn) as connection:
        ended = connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks JOIN pg_stat_activity USING (pid) "
            f"WHERE locktype = 'advisory' AND {OTHERS}"
        ).fetchall()
    assert ended == [(True,)]
    write(dsn, working_week(1, after=POSITION, seed=POSITION))


@pytest.mark.usefixtures("week", "small_parts")
def test_two_exports_that_fold_the_same_view_do_not_meet_though_one_has_lost_its_lock(
    dsn: str, tmp_path: Path
) -> None:
    """The schema in which they fold belongs to a connection that has nothing to do for long, and may be cut.

    Guard: rows are read in the transaction that has looked where the views stand, so the schema cannot be dropped.
    """
    export(dsn, "usage", "csv", tmp_path / "whole")
    another_release(dsn)
    others: list[Future[Exported]] = []
    with ThreadPoolExecutor() as threads:

        def lose_the_lock_once(told: object) -> None:
            if not others:
                lose_lock(dsn)
                others.append(threads.submit(export, dsn, "usage", "csv", tmp_path / "other"))
                other_waits(dsn, others[0])

        with suppress(psycopg.OperationalError):  # it cannot drop the schema at its end
            export(dsn, "usage", "csv", tmp_path / "during", written=lose_the_lock_once)
        assert others[0].result(SECONDS_MAX).manifest.positions[0] > POSITION
    assert files_of(tmp_path / "during") == files_of(tmp_path / "whole")


@pytest.mark.usefixtures("week", "small_parts")
def test_an_export_that_has_lost_its_lock_while_it_folds_goes_by_no_other_position(
    dsn: str, tmp_path: Path
) -> None:
    """Guard: looking where the views stand once they are folded."""
    export(dsn, "usage", "csv", tmp_path / "whole")
    another_release(dsn)
    others: list[Exported] = []

    def lose_the_lock_once(told: object) -> None:
        if not others:
            lose_lock(dsn)
            others.append(export(dsn, "usage", "csv", tmp_path / "other"))

    with pytest.raises((ViewStopped, psycopg.OperationalError)):
        export(dsn, "usage", "csv", tmp_path / "during", folding=lose_the_lock_once)
    assert files_of(tmp_path / "during") == {}
    assert others[0].manifest.positions[0] > POSITION
