"""A projection is built beside the live one and swapped in; whoever reads meanwhile sees whole views only."""

import asyncio
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable

import msgspec
import psycopg
import pytest

from app.core import events as ev
from projections import ALL, building, tasks, transcript
from projections.building import BUILDING, SwapBlocked, beside, drop_retired
from projections.checking import check
from projections.pages import connect
from projections.projection import AnyProjection, fold_all
from projections.runner import BuildFailed, ProjectionRunner
from projections.tables import Table
from tests.support.projected import Book, requested, task, write

WAIT_SECONDS = 30.0
NEWER = tasks.PROJECTION.version + 1


def conversation(book: Book, turns: int, stream: str = "conversation/alice/c1") -> None:
    for _ in range(turns):
        number = len(book.recorded)
        book.add(ev.MessageReceived(f"m{number}", f"question {number}"), stream=stream)
        book.add(requested(), task(number), stream)
        book.add(ev.MessageAnswered(f"a{number}", f"answer {number}"), task(number), stream)
        book.add(ev.RunCompleted(1), task(number), stream)


def filled(dsn: str, turns: int = 5) -> Book:
    book = Book()
    conversation(book, turns)
    write(dsn, book.recorded)
    ProjectionRunner(dsn).run_to_end()
    return book


def rows_of(dsn: str, projection: AnyProjection) -> dict[tuple[object, ...], msgspec.Struct]:
    with connect(dsn) as connection:
        return Table(projection).load_all(connection)


def schemas(dsn: str) -> list[str]:
    with psycopg.connect(dsn) as connection:
        rows = connection.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'minutebook%'")
        return [name for (name,) in rows]


def slow(seen: Callable[[], object], projection: AnyProjection = tasks.PROJECTION) -> AnyProjection:
    """The projection, telling somebody of each event that it folds."""

    def apply(row: object, recorded: object, event: object) -> object:
        seen()
        return projection.apply(row, recorded, event)

    return msgspec.structs.replace(projection, apply=apply)


def test_what_was_deleted_by_hand_is_there_again_and_the_old_table_is_kept_for_an_hour(dsn: str) -> None:
    book = filled(dsn)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("DELETE FROM tasks WHERE first_offset < 10")
    assert ProjectionRunner(dsn).rebuild("tasks").behind == 0
    assert rows_of(dsn, tasks.PROJECTION) == fold_all(tasks.PROJECTION, book.page(tasks.PROJECTION).entries)
    (retired,) = schemas(dsn)
    assert retired.startswith("minutebook_retired_")
    assert drop_retired(dsn) == []
    assert drop_retired(dsn, older_than_seconds=0) == [retired]
    assert schemas(dsn) == []


def test_readers_see_the_old_rows_until_the_new_ones_are_all_there(dsn: str) -> None:
    book = filled(dsn)
    before = rows_of(dsn, tasks.PROJECTION)
    seen: list[bool] = []
    projection = slow(lambda: seen.append(rows_of(dsn, tasks.PROJECTION) == before))
    ProjectionRunner(dsn, [projection], page_events=3).rebuild("tasks")
    assert len(seen) == len(book.page(tasks.PROJECTION).entries)
    assert all(seen)


async def test_rebuilt_again_and_again_under_load_a_reader_sees_complete_views_only(dsn: str) -> None:
    """Done-when 2: every read of a reader that waits for what was written has all of it, also on prepared statements
    and on a node that folds live."""
    node, stop, wrong = ProjectionRunner(dsn), threading.Event(), []
    await asyncio.to_thread(node.start)

    def build() -> None:
        while not stop.is_set():
            for projection in (tasks.PROJECTION, transcript.PROJECTION):
                ProjectionRunner(dsn, [projection], page_events=7).rebuild(projection.name)

    builder = threading.Thread(target=build)
    builder.start()
    book = Book()
    try:
        with psycopg.connect(dsn, autocommit=True, prepare_threshold=0) as reader:
            for turn in range(60):
                conversation(book, 1)
                write(dsn, book.recorded[turn * 4 : turn * 4 + 4])
                await node.wait_for(turn * 4 + 4, WAIT_SECONDS, "tasks", "transcript")
                ended = reader.execute("SELECT count(*) FROM tasks WHERE status = 'completed'").fetchone()
                shown = reader.execute(
                    "SELECT count(*) FROM transcript WHERE shown_offset IS NOT NULL"
                ).fetchone()
                if (ended, shown) != ((turn + 1,), (2 * turn + 2,)):
                    wrong.append((turn, ended, shown))
    finally:
        stop.set()
        builder.join(WAIT_SECONDS)
        await asyncio.to_thread(node.close)
    assert wrong == []
    assert all(check(dsn, projection).fine for projection in (tasks.PROJECTION, transcript.PROJECTION))


def test_a_new_version_is_built_once_by_two_that_start_together(dsn: str) -> None:
    filled(dsn)
    folded: list[int] = []
    newer = msgspec.structs.replace(slow(lambda: folded.append(1)), version=NEWER)
    entries = len(Book().recorded) + 20
    start = threading.Barrier(2)

    def node() -> None:
        start.wait(WAIT_SECONDS)
        ProjectionRunner(dsn, [newer]).run_to_end()

    threads = [threading.Thread(target=node) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_SECONDS)
    assert len(folded) <= entries
    assert check(dsn, newer).fine


def test_a_new_version_that_cannot_be_built_leaves_the_old_table(dsn: str) -> None:
    filled(dsn)
    before = rows_of(dsn, tasks.PROJECTION)

    def refuse() -> None:
        raise ValueError("I cannot read this")

    broken = msgspec.structs.replace(slow(refuse), version=NEWER)
    (status,) = ProjectionRunner(dsn, [broken]).run_to_end()
    assert status.stopped is not None
    assert "tasks cannot be built: position 2 (run.requested): ValueError" in status.stopped.reason
    with pytest.raises(BuildFailed, match="position 2"):
        ProjectionRunner(dsn, [slow(refuse)]).rebuild("tasks")
    assert rows_of(dsn, tasks.PROJECTION) == before
    assert [name for name in schemas(dsn) if name.startswith(BUILDING)] == []


def test_a_swap_that_a_reader_holds_up_says_who_it_is_and_changes_nothing(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "SWAP_ATTEMPTS", 2)
    monkeypatch.setattr(building, "_SWAP_LIMITS", b"SET LOCAL lock_timeout = '50ms'")
    filled(dsn)
    before = rows_of(dsn, tasks.PROJECTION)
    with psycopg.connect(dsn, application_name="report") as reader:
        reader.execute("SELECT * FROM tasks")
        pid = reader.info.backend_pid
        with pytest.raises(SwapBlocked, match=rf"^tasks: .* locked by backend {pid} \(report, for \d+ s\);"):
            ProjectionRunner(dsn).rebuild("tasks")
    assert rows_of(dsn, tasks.PROJECTION) == before
    assert schemas(dsn) == []
    assert ProjectionRunner(dsn).rebuild("tasks").behind == 0


def build_and_hang(dsn: str, reached: "multiprocessing.synchronize.Event") -> None:
    def hang() -> None:
        reached.set()
        signal.pause()

    ProjectionRunner(dsn, [msgspec.structs.replace(slow(hang), version=NEWER)]).run_to_end()


def test_a_builder_that_is_killed_has_changed_nothing_and_the_next_one_builds(dsn: str) -> None:
    filled(dsn)
    before = rows_of(dsn, tasks.PROJECTION)
    context = multiprocessing.get_context("spawn")
    reached = context.Event()
    process = context.Process(target=build_and_hang, args=(dsn, reached))
    process.start()
    assert reached.wait(WAIT_SECONDS)
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join(WAIT_SECONDS)
    assert rows_of(dsn, tasks.PROJECTION) == before
    newer = msgspec.structs.replace(tasks.PROJECTION, version=NEWER)
    (status,) = ProjectionRunner(dsn, [newer]).run_to_end()
    assert (status.stopped, status.behind) == (None, 0)
    assert check(dsn, newer).fine


def test_the_live_table_is_never_dropped_by_a_build_beside_it(dsn: str) -> None:
    """Guard: names are looked up in the first schema of the search path only."""
    filled(dsn)
    before = rows_of(dsn, tasks.PROJECTION)
    with beside(dsn) as place:
        ProjectionRunner(place.dsn, ALL, in_place=True).run_to_end()
        assert rows_of(dsn, tasks.PROJECTION) == before
        assert rows_of(place.dsn, tasks.PROJECTION) == before
