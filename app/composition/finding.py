"""Runs that nobody works on, found in the view of the tasks."""

from app.log.errors import LogUnavailable
from app.log.log import Log
from app.runs.finder import Finder
from app.runs.runner import Runs
from projections import tasks
from projections.reads import ReadPool, ViewsUnavailable
from projections.tasks import OpenTask


def finder_of(log: Log, runs: Runs, reads: ReadPool) -> Finder:
    """Looks in the views of `reads`. While they are away it waits, as for the log."""

    async def open_tasks() -> list[OpenTask]:
        try:
            return await tasks.open_tasks(reads)
        except ViewsUnavailable as error:
            raise LogUnavailable("the views cannot be read") from error

    return Finder(log, runs, open_tasks)
