"""Following one task: its steps from the log, its tokens while they come, its end."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID

from app.api.feed import batches
from app.api.portal_wire import Ended, Shown, Turn
from app.api.services import Services
from app.log.subscribe import Filter


async def follow(
    services: Services, stream: str, task_id: UUID, *, first_offset: int, after: int = 0
) -> AsyncIterator[Shown]:
    """What a client that has seen everything up to offset `after` has still to see of a task, then the rest live.

    `first_offset` is where the task's first event stands. The last item is always the task's end, also where it lies
    before `after`: a finished task answers at once. Ends without it only when the server stops.
    """
    turn = Turn(services.options.locale)
    async with services.log.subscribe(
        stream,
        after=first_offset - 1,
        wanted=Filter(task_id=task_id),
        heartbeat_seconds=services.options.feed_heartbeat_seconds,
    ) as reader:
        async for batch in batches(services, reader):
            for recorded in batch.events:
                shown = turn.show(recorded)
                if isinstance(shown, Ended):
                    yield shown
                    return
                if shown is not None and recorded.offset > after:
                    yield shown
            for delta in batch.deltas:
                yield turn.token(delta, datetime.now(UTC))
