"""Reading one's own writes: views that show everything which is committed now, on whatever node it was written."""

from app.log.log import Log
from projections.runner import ProjectionRunner

VIEW_SECONDS_MAX = 5.0


async def caught_up(log: Log, views: ProjectionRunner, *names: str, stream: str | None = None) -> None:
    """Wait until these views show what is committed now; with `stream` only of the partition where that one is.

    Raises `ProjectionLag` after 5 s for each partition, `LogUnavailable`.
    """
    for partition in range(log.partitions) if stream is None else (log.partition_of(stream),):
        position = await log.reader.position(partition)
        await views.wait_for(position, VIEW_SECONDS_MAX, *names, partition=partition)
