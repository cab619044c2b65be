"""Where a task is in the log, for whoever knows nothing but its id: the command line."""

from uuid import UUID

from app.log.connections import GONE, close_pool, connection_name, read_pool
from app.log.errors import LogUnavailable
from app.log.sql import statement

LOOK_SECONDS_MAX = 300.0


async def stream_of_task(dsn: str, task_id: UUID, *, node_id: str) -> str | None:
    """The stream in which the task was requested, also where its conversation has been deleted since; None if nowhere.

    Looks through the whole log, for at most 300 s. Raises `LogUnavailable`.
    """
    try:
        pool = await read_pool(dsn, name=connection_name("tasks", node_id))
        try:
            return await pool.fetchval(statement("stream_of_task"), task_id, timeout=LOOK_SECONDS_MAX)
        finally:
            await close_pool(pool)
    except GONE as error:
        raise LogUnavailable("the database cannot be reached; try again") from error
