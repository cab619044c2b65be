"""Following one task: its steps from the log, its tokens while they come, its end."""

from collections.abc import AsyncIterator, Collection
from contextlib import suppress
from datetime import UTC, datetime
from uuid import UUID

from app.api.feed import batches
from app.api.meeting_wire import acknowledged
from app.api.portal_wire import Turn
from app.api.services import Services
from app.api.shown import Ended, Meeting, Shown
from app.api.views import VIEW_SECONDS_MAX
from app.core.envelope import Recorded
from app.core.events import RunRequested
from app.core.meeting_events import MEETING_MODES
from projections import tasks
from projections.waiting import ProjectionLag

ACK = "team_intervention_ack"


async def follow(
    services: Services,
    stream: str,
    task_id: UUID,
    *,
    first_offset: int,
    after: int = 0,
    beside: Collection[UUID] | None = None,
) -> AsyncIterator[Shown]:
    """What a client that has seen everything up to offset `after` has still to see of a task, then the rest live.

    `first_offset` is where the task's first event stands. The last item is always the task's end, also where it lies
    before `after`: a finished task answers at once. Ends without it only when the server stops. The runs of a team's
    members belong to the team's task.

    `beside` are the tasks that the client follows besides, now and later: a word to a board or team among them is
    acknowledged where that one is followed, and so before anything comes of it.
    """
    words = _Words(services, task_id, beside)
    turn = Turn(services.options.locale, after=after, meetings=words.said_to)
    # No filter: which tasks belong to this one is seen on the way. It would be applied on this side of the log anyway.
    async with services.log.subscribe(
        stream, after=first_offset - 1, heartbeat_seconds=services.options.feed_heartbeat_seconds
    ) as reader:
        async for batch in batches(services, reader):
            for recorded in batch.events:
                if recorded.task_id != task_id and not turn.meeting.concerns(recorded):
                    found = words.to_this(recorded) if turn.is_meeting else []
                else:
                    await words.note(recorded)
                    found = words.not_told_elsewhere(turn.show(recorded))
                for shown in found:
                    if isinstance(shown, Ended):
                        yield shown
                        return
                    if recorded.offset > after:
                        yield shown
            for delta in batch.deltas:
                if delta.task_id == task_id or turn.meeting.has_member(delta.task_id):
                    for piece in turn.token(delta, datetime.now(UTC)):
                        yield piece


class _Words:
    """Words to boards and teams, as one turn sees them. `said_to` are the meetings to which this turn's message was
    said."""

    def __init__(self, services: Services, task_id: UUID, beside: Collection[UUID] | None) -> None:
        self.said_to: set[str] = set()
        self._services = services
        self._task_id = task_id
        self._beside = beside

    def to_this(self, recorded: Recorded) -> list[Shown]:
        """The acknowledgement of a word to this turn's own meeting, for who follows both."""
        if self._beside is None or (event := _word(recorded)) is None or event.steers != str(self._task_id):
            return []
        return [acknowledged(event, recorded)]

    def not_told_elsewhere(self, shown: list[Shown]) -> list[Shown]:
        return [
            one for one in shown if not (isinstance(one, Meeting) and one.name == ACK and self._is_beside())
        ]

    async def note(self, recorded: Recorded) -> None:
        """Look what kind of task this turn's message was said to, if to any."""
        if (event := _word(recorded)) is None or event.steers is None:
            return
        said_to, services = UUID(event.steers), self._services
        task = await tasks.get(services.reads, said_to)
        if task is None:  # it is older than its message
            with suppress(ProjectionLag):
                await services.views.wait_for(
                    recorded.position, VIEW_SECONDS_MAX, "tasks", partition=recorded.partition
                )
            task = await tasks.get(services.reads, said_to)
        if task is not None and task.metadata.mode in MEETING_MODES:
            self.said_to.add(event.steers)

    def _is_beside(self) -> bool:
        return self._beside is not None and any(UUID(one) in self._beside for one in self.said_to)


def _word(recorded: Recorded) -> RunRequested | None:
    """The request of a message to a running task."""
    if recorded.type != "run.requested":
        return None
    event = recorded.event()
    return event if isinstance(event, RunRequested) and event.steers is not None else None
