"""One node folds a projection at a time; the others follow what it has done, and take over when it is gone."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import psycopg
import pytest

from app.core import events as ev
from projections import tasks
from projections.checkpoints import Checkpoints, retry
from projections.ownership import TRAILING_SECONDS, Ownership
from projections.pages import connect
from projections.projection import Poison
from projections.runner import ProjectionRunner
from tests.support.projected import Book, requested, task, write

WAIT_SECONDS = 20.0
ONLY = (tasks.PROJECTION,)
PLACE = ("tasks", 0)


class Worker:
    """A node's ownership on a connection of its own. `tick` moves its clock on."""

    def __init__(self, dsn: str, stack: ExitStack, lease_seconds: float = 60.0) -> None:
        self.clock = 0.0
        self.connection = stack.enter_context(connect(dsn))
        self.checkpoints = Checkpoints(ONLY)
        self.checkpoints.prepare(self.connection)
        self.ownership = Ownership(
            self.connection, self.checkpoints, lease_seconds=lease_seconds, now=lambda: self.clock
        )

    def owns(self) -> bool:
        self.clock += 1_000
        return PLACE in self.ownership.owned()


@contextmanager
def workers(dsn: str, **options: float) -> Iterator[tuple[Worker, Worker]]:
    with ExitStack() as stack:
        yield Worker(dsn, stack, **options), Worker(dsn, stack, **options)


def one_event(dsn: str) -> None:
    book = Book()
    book.add(requested(), task(1))
    write(dsn, book.recorded)


def test_only_one_of_two_workers_has_it_and_the_other_trails(dsn: str) -> None:
    with workers(dsn) as (first, second):
        assert not first.owns(), "nothing is to be folded, so nothing is claimed"
        one_event(dsn)
        assert (first.owns(), second.owns()) == (True, False)
        assert (first.ownership.trailing, second.ownership.trailing) == (False, True)
        assert (first.owns(), second.owns()) == (True, False)


@pytest.mark.parametrize("other", [False, True])
def test_what_is_written_right_after_a_look_is_not_forgotten(dsn: str, other: bool) -> None:
    """A wake-up comes once: one that finds nothing because it must not look yet has to come back."""
    with workers(dsn) as (first, second):
        assert not first.owns()
        assert not first.ownership.trailing, "it has seen the end of the log"
        one_event(dsn)
        if other:
            assert second.owns()
        assert not first.ownership.owned(), "it looked at this very moment"
        assert first.ownership.trailing
        first.clock += TRAILING_SECONDS
        assert (PLACE in first.ownership.owned(), first.ownership.trailing) == (not other, other)


def test_the_other_takes_over_when_the_connection_has_gone(dsn: str) -> None:
    with workers(dsn) as (first, second):
        one_event(dsn)
        assert first.owns()
        first.connection.close()
        with psycopg.connect(dsn, autocommit=True) as look:
            while look.execute(
                "SELECT FROM pg_stat_activity a JOIN projection_checkpoints ON pid = worker_pid"
            ).fetchone():
                pass
        assert second.owns()


def test_a_lease_that_is_over_is_free_although_its_worker_lives(dsn: str) -> None:
    """A frozen process keeps its connection. Guard: `lease_until`."""
    with workers(dsn, lease_seconds=0.0) as (first, second):
        one_event(dsn)
        assert first.owns()
        assert second.owns()


def test_what_is_released_is_free_at_once(dsn: str) -> None:
    with workers(dsn) as (first, second):
        one_event(dsn)
        assert first.owns()
        first.ownership.release()
        assert second.owns()


def test_what_somebody_else_has_folded_of_ones_own_is_known(dsn: str) -> None:
    """Guard: `_look`, for a table that was built anew and swapped in."""
    with workers(dsn) as (first, _):
        one_event(dsn)
        assert first.owns()
        ProjectionRunner(dsn, ONLY).run_to_end()
        first.owns()
        assert first.checkpoints.position(*PLACE) == 1


@pytest.mark.parametrize("how", ["folded past", "retried"])
def test_one_that_stopped_goes_on_where_that_event_is_folded_or_tried_again(dsn: str, how: str) -> None:
    with workers(dsn) as (first, second):
        one_event(dsn)
        first.checkpoints.note_stop(first.connection, "tasks", Poison(1, "run.requested", "cannot"), 0)
        assert not first.owns()
        assert first.checkpoints.stopped("tasks") is not None
        if how == "retried":
            assert retry(second.connection, "tasks")
            assert not retry(second.connection, "tasks")
        else:
            ProjectionRunner(dsn, ONLY).run_to_end()
        first.owns()
        assert first.checkpoints.stopped("tasks") is None


@pytest.mark.parametrize("stops", [0, 1])
async def test_readers_of_both_nodes_see_all_also_after_one_has_stopped(dsn: str, stops: int) -> None:
    nodes = [ProjectionRunner(dsn, ONLY), ProjectionRunner(dsn, ONLY)]
    for node in nodes:
        node.start()
    try:
        book = Book()
        for number in range(1, 41):
            book.add(requested() if number == 1 else ev.RunClaimed("w", number), task(1))
        for number in range(1, 41):
            write(dsn, book.recorded[number - 1 : number])
            if number == 20:
                await asyncio.to_thread(nodes.pop(stops).close)
            for node in nodes:
                await node.wait_for(number, WAIT_SECONDS)
    finally:
        for node in nodes:
            await asyncio.to_thread(node.close)
