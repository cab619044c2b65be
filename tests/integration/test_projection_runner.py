import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec
import psycopg
import pytest

from app.core import events as ev
from projections import ALL, conversations, tasks, transcript
from projections.pages import connect
from projections.projection import AnyProjection, fold_all
from projections.runner import ProjectionLag, ProjectionRunner
from projections.tables import Table
from tests.support.projected import Book, requested, task, write

WAIT_SECONDS = 20.0
NEWER = tasks.PROJECTION.version + 1


def conversation(book: Book, turns: int = 3, stream: str = "conversation/alice/c1") -> None:
    for _ in range(turns):
        number = len(book.recorded)
        book.add(ev.MessageReceived(f"m{number}", f"question {number}"), stream=stream)
        book.add(requested(), task(number), stream)
        book.add(ev.RunClaimed("w", 1), task(number), stream)
        book.add(ev.MessageAnswered(f"a{number}", f"answer {number}"), task(number), stream)
        book.add(ev.RunCompleted(1), task(number), stream)


def assert_folded(dsn: str, book: Book, projections: tuple[AnyProjection, ...] = ALL) -> None:
    with connect(dsn) as connection:
        for projection in projections:
            assert Table(projection).load_all(connection) == fold_all(
                projection, book.page(projection).entries
            )


@contextmanager
def running(
    dsn: str, projections: tuple[AnyProjection, ...] = ALL, **options: float
) -> Iterator[ProjectionRunner]:
    runner = ProjectionRunner(dsn, projections, **options)
    runner.start()
    try:
        yield runner
    finally:
        runner.close()


async def test_readers_see_what_was_written_before(dsn: str) -> None:
    book = Book()
    conversation(book)
    with running(dsn) as runner:
        write(dsn, book.recorded)
        await runner.wait_for(15, WAIT_SECONDS)
        assert_folded(dsn, book)
        assert [status.behind for status in runner.status()] == [0] * len(ALL)


async def test_a_wake_up_is_enough(dsn: str) -> None:
    book = Book()
    conversation(book)
    with running(dsn, idle_seconds=3600) as runner:
        write(dsn, book.recorded)
        await runner.wait_for(15, WAIT_SECONDS)


async def test_without_a_wake_up_the_heartbeat_is_enough(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    book = Book()
    conversation(book)
    with running(dsn, idle_seconds=0.05) as runner:
        monkeypatch.setattr(runner, "wake", lambda: None)
        write(dsn, book.recorded)
        await runner.wait_for(15, WAIT_SECONDS)


async def test_waiting_ends_with_who_is_behind_and_by_how_much(dsn: str) -> None:
    with running(dsn) as runner:
        with pytest.raises(ProjectionLag) as caught:
            await runner.wait_for(7, 0.05, "tasks")
        assert (caught.value.names, caught.value.position, caught.value.behind) == (
            ("tasks",),
            7,
            {"tasks": 7},
        )


async def test_closing_tells_those_who_wait(dsn: str) -> None:
    runner = ProjectionRunner(dsn)
    runner.start()
    waiting = asyncio.create_task(runner.wait_for(7, 3600))
    await asyncio.sleep(0)
    await asyncio.to_thread(runner.close)
    with pytest.raises(ProjectionLag, match="stopping"):
        await asyncio.wait_for(waiting, WAIT_SECONDS)


async def test_a_poison_event_stops_its_projection_only(dsn: str) -> None:
    book = Book()
    conversation(book)
    poison = 9

    def apply(row: object, recorded: object, event: object) -> object:
        if recorded.position == poison:
            raise ValueError("I cannot read this")
        return conversations.apply(row, recorded, event)

    broken = msgspec.structs.replace(conversations.PROJECTION, apply=apply)
    write(dsn, book.recorded)
    with running(dsn, (broken, transcript.PROJECTION, tasks.PROJECTION)) as runner:
        await runner.wait_for(15, WAIT_SECONDS, "transcript", "tasks")
        await runner.wait_for(poison - 1, WAIT_SECONDS, "conversations")
        with pytest.raises(
            ProjectionLag, match=f"stopped at position {poison}: ValueError: I cannot read this"
        ):
            await runner.wait_for(15, 3600, "conversations")
        stopped = runner.status()[0].stopped
        assert stopped is not None
        assert (stopped.position, stopped.type) == (poison, "message.answered")
        assert runner.status()[0].position == poison - 1
    assert_folded(dsn, book, (transcript.PROJECTION, tasks.PROJECTION))
    before = Book()
    before.recorded = book.recorded[: poison - 1]
    assert_folded(dsn, before, (conversations.PROJECTION,))
    with running(dsn) as mended:
        await mended.wait_for(15, WAIT_SECONDS)
    assert_folded(dsn, book)


def test_a_damaged_payload_stops_those_who_handle_its_type(dsn: str) -> None:
    book = Book()
    conversation(book, turns=1)
    claimed = book.recorded[2]
    book.recorded[2] = msgspec.structs.replace(claimed, payload='{"type":"run.claimed","epoch":"soon"}')
    write(dsn, book.recorded)
    by_name = {status.name: status for status in ProjectionRunner(dsn).run_to_end()}
    assert (by_name["conversations"].position, by_name["transcript"].position) == (5, 5)
    assert by_name["tasks"].stopped is not None
    assert (by_name["tasks"].position, by_name["tasks"].stopped.position) == (2, 3)


def test_a_row_that_the_table_refuses_is_found_and_stops_in_front_of_it(dsn: str) -> None:
    book = Book()
    conversation(book)
    ProjectionRunner(dsn).run_to_end()
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("ALTER TABLE transcript ADD CHECK (content <> 'answer 5')")
    write(dsn, book.recorded)
    by_name = {status.name: status for status in ProjectionRunner(dsn).run_to_end()}
    assert (by_name["conversations"].position, by_name["tasks"].position) == (15, 15)
    stopped = by_name["transcript"].stopped
    assert stopped is not None
    assert stopped.position == 9
    assert "CheckViolation" in stopped.reason


def test_rows_and_checkpoint_change_together(dsn: str) -> None:
    book = Book()
    conversation(book)
    ProjectionRunner(dsn).run_to_end()
    write(dsn, book.recorded)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = 'P0099'; END $$"
        )
        for table in ("projection_checkpoints", "transcript"):
            connection.execute(
                f"CREATE CONSTRAINT TRIGGER late AFTER INSERT OR UPDATE ON {table} "
                "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()"
            )
            with pytest.raises(psycopg.Error):
                ProjectionRunner(dsn, [transcript.PROJECTION]).run_to_end()
            row = connection.execute(
                "SELECT (SELECT count(*) FROM transcript), position "
                "FROM projection_checkpoints WHERE name = 'transcript'"
            ).fetchone()
            assert row == (0, 0)
            connection.execute(f"DROP TRIGGER late ON {table}")
    ProjectionRunner(dsn).run_to_end()
    assert_folded(dsn, book)


def test_two_nodes_at_once_are_both_right(dsn: str) -> None:
    book = Book()
    for number in range(20):
        conversation(book, turns=4, stream=f"conversation/alice/c{number}")
    book.add(ev.ConversationDeleted("c3"), stream="conversation/alice/c3")
    conversation(book, stream="conversation/alice/c3")
    write(dsn, book.recorded)
    start = threading.Barrier(3)
    failures: list[BaseException] = []

    def node(page_events: int) -> None:
        try:
            start.wait(WAIT_SECONDS)
            ProjectionRunner(dsn, page_events=page_events).run_to_end()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=node, args=(page_events,)) for page_events in (7, 7, 11)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_SECONDS)
    assert failures == []
    assert_folded(dsn, book)


def test_a_checkpoint_that_went_back_is_followed(dsn: str) -> None:
    book = Book()
    conversation(book)
    write(dsn, book.recorded[:10])
    runner = ProjectionRunner(dsn, page_events=5)
    with runner._session() as session, connect(dsn) as other:
        while session.advance():
            pass
        with other.transaction():
            other.execute("UPDATE projection_checkpoints SET position = 0")
            for projection in ALL:
                other.execute(f"DELETE FROM {projection.name}")
        write(dsn, book.recorded[10:])
        while session.advance():
            pass
    assert_folded(dsn, book)


def test_rows_that_are_being_deleted_are_not_folded_on(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    book = Book()
    for number in range(3):
        book.add(requested(), task(number))
    book.add(ev.ConversationDeleted("c1"))
    book.add(ev.MessageReceived("m1", "again"))
    for number in range(3):
        book.add(ev.RunCompleted(), task(number))
    write(dsn, book.recorded[:3])
    runner = ProjectionRunner(dsn, [tasks.PROJECTION], page_events=2)
    with runner._session() as session, psycopg.connect(dsn) as other:
        while session.advance():
            pass
        write(dsn, book.recorded[3:])
        other.execute("SELECT FROM projection_checkpoints FOR UPDATE")
        assert session.advance(), "the deletion is folded, its write waits for the lock"

        def settle_when_it_may(settle: Callable[[], object] = session._settle) -> object:
            other.commit()
            return settle()

        monkeypatch.setattr(session, "_settle", settle_when_it_may)
        while session.advance():
            pass
    assert_folded(dsn, book, (tasks.PROJECTION,))


async def test_a_lost_connection_is_made_again(dsn: str) -> None:
    book = Book()
    conversation(book)
    with running(dsn) as runner:
        for until in (5, 10, 15):
            write(dsn, book.recorded[until - 5 : until])
            await runner.wait_for(until, WAIT_SECONDS)
            with psycopg.connect(dsn, autocommit=True) as connection:
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND application_name = 'minutebook-projections'"
                )
        assert_folded(dsn, book)


def test_a_new_version_is_folded_anew_and_an_older_release_leaves_it_alone(dsn: str) -> None:
    book = Book()
    conversation(book)
    write(dsn, book.recorded)
    ProjectionRunner(dsn).run_to_end()
    newer = msgspec.structs.replace(
        tasks.PROJECTION,
        version=NEWER,
        ddl=tasks.DDL.replace("owner text NOT NULL", "owner varchar NOT NULL"),
    )
    assert ProjectionRunner(dsn, [newer]).run_to_end()[0].position == 15
    assert_folded(dsn, book, (newer,))
    (old,) = ProjectionRunner(dsn, [tasks.PROJECTION]).run_to_end()
    assert old.stopped is not None
    assert "run the newer release" in old.stopped.reason


def test_a_newer_release_that_comes_meanwhile_stops_the_older_one(dsn: str) -> None:
    book = Book()
    conversation(book)
    write(dsn, book.recorded[:5])
    older = ProjectionRunner(dsn, [tasks.PROJECTION])
    older.start()
    older.close()
    with older._session() as session:
        ProjectionRunner(dsn, [msgspec.structs.replace(tasks.PROJECTION, version=NEWER)]).run_to_end()
        write(dsn, book.recorded[5:])
        session.advance()
        session.advance()
    stopped = older.status()[0].stopped
    assert stopped is not None
    assert f"version {NEWER} now" in stopped.reason


def test_a_dropped_table_comes_back(dsn: str) -> None:
    book = Book()
    conversation(book)
    write(dsn, book.recorded)
    ProjectionRunner(dsn).run_to_end()
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("DROP TABLE conversations")
    ProjectionRunner(dsn).run_to_end()
    assert_folded(dsn, book)


def test_text_that_a_column_cannot_hold_is_shown_all_the_same(dsn: str) -> None:
    book = Book()
    book.add(ev.MessageReceived("m1", "a\0b \\u0000 \\\0"))
    words = " ".join(f"w{number}" for number in range(150_000))
    book.add(ev.MessageReceived("m2", words))
    book.add(ev.MessageReceived("m3", "x" * 1_000_000))
    write(dsn, book.recorded)
    assert [status.stopped for status in ProjectionRunner(dsn).run_to_end()] == [None] * len(ALL)
    with connect(dsn) as connection:
        stored = Table(transcript.PROJECTION).load_all(connection)
    assert [card.content for card in stored.values()] == ["a\ufffdb \\u0000 \\\ufffd", words, "x" * 1_000_000]
