"""Whose turn it is: the tasks of a conversation go on one after another, in the order in which they were requested.

What is open is found by reading the stream backwards. It ends at the newest task that began in its turn
(`run.claimed` says so): whatever was requested before it had ended by then. So the cost does not grow with the
conversation.
"""

from uuid import UUID

import msgspec

from app.core.envelope import Recorded
from app.core.events import TERMINAL_TYPES, RunClaimed, RunRequested
from app.log.read import LogReader, newest_first


class OpenTask(msgspec.Struct, frozen=True):
    """A task that has not ended. `began`: some worker has begun it."""

    task_id: UUID
    offset: int
    began: bool


class OpenTasks(msgspec.Struct, frozen=True):
    """The open tasks of a stream whose newest event is at `head`, oldest first. Operations and the like are not among
    them: they wait for nobody, and nobody waits for them. `closed`: the chat session takes no message any more."""

    head: int
    tasks: tuple[OpenTask, ...] = ()
    closed: bool = False


class Scan:
    """Fold over a stream, backwards. `over` once nothing further back can be open, nor close the session: no task is
    requested behind its end."""

    def __init__(self) -> None:
        self.open: list[OpenTask] = []
        self.over = False
        self.closed = False
        self._ended: set[UUID] = set()
        self._began: set[UUID] = set()
        self._in_turn: set[UUID] = set()

    def add(self, recorded: Recorded) -> None:
        """The next older event."""
        task_id = recorded.task_id
        if self.over or recorded.type == "conversation.deleted":
            self.over = True
        elif recorded.type == "session.closed":
            self.closed = True
        elif task_id is None:
            return
        elif recorded.type in TERMINAL_TYPES:
            self._ended.add(task_id)
        elif recorded.type == "run.claimed":
            self._began.add(task_id)
            event = recorded.event()
            if isinstance(event, RunClaimed) and event.in_turn:
                self._in_turn.add(task_id)
        elif recorded.type == "run.requested":
            self._requested(task_id, recorded)

    def _requested(self, task_id: UUID, recorded: Recorded) -> None:
        self.over = task_id in self._in_turn
        if task_id in self._ended:
            return
        event = recorded.event()
        if isinstance(event, RunRequested) and event.parent is None:
            self.open.append(OpenTask(task_id, recorded.offset, task_id in self._began))


async def open_tasks(reader: LogReader, stream: str) -> OpenTasks:
    """The stream's open tasks now. Raises `LogUnavailable`."""
    scan, head = Scan(), 0
    async for recorded in newest_first(reader, stream):
        head = head or recorded.offset
        scan.add(recorded)
        if scan.over:
            break
    return OpenTasks(head, tuple(reversed(scan.open)), scan.closed)
