"""Two nodes fold one log: what the other one has done counts, and whoever waits for it is told."""

from app.core import events as ev
from projections import tasks
from projections.checkpoints import Checkpoints
from projections.pages import connect
from projections.runner import ProjectionRunner
from projections.session import Session
from tests.support.projected import Book, task, write

ONLY = (tasks.PROJECTION,)


def test_readers_are_told_what_another_node_has_folded_in_the_meantime(dsn: str) -> None:
    """Guard: `_moved` where a fold finds its rows further on than it knew."""
    ProjectionRunner(dsn, ONLY).run_to_end()
    checkpoints = Checkpoints(ONLY)
    with connect(dsn) as reading, connect(dsn) as writing:
        checkpoints.prepare(reading)
        before = checkpoints.position("tasks", 0)
        book = Book(after=before)
        book.add(ev.RunClaimed("w", 1), task(1))  # a row that has to be loaded
        write(dsn, book.recorded)
        ProjectionRunner(dsn, ONLY).run_to_end()
        told: list[int] = []
        session = Session(
            reading,
            writing,
            ONLY,
            checkpoints,
            page_events=500,
            moved=lambda: told.append(checkpoints.position("tasks", 0)),
        )
        try:
            while session.advance():
                pass
        finally:
            session.close()
    assert checkpoints.position("tasks", 0) == before + 1
    assert told[-1] == before + 1
