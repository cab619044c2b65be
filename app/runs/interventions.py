"""What people do to a run that goes on: answer what it asks, cut a speaker short, end it. On whatever node it runs."""

from datetime import UTC, datetime
from typing import TypeVar
from uuid import UUID

from app.core.envelope import NewEvent
from app.core.events import (
    ConfirmationAnswered,
    ConfirmationRequested,
    HumanAnswered,
    HumanAsked,
    RunCancelRequested,
    SpeakerInterrupted,
)
from app.core.meeting_events import MEETING_MODES
from app.core.messages import storable
from app.log.errors import IdempotencyMismatch
from app.log.ids import new_id
from app.log.log import Log
from app.runs import refused
from app.runs.people import reply_key, task_of
from app.runs.record import RunRecord, fold, read_events

R = TypeVar("R", HumanAsked, ConfirmationRequested)
MESSAGE_BYTES_MAX = 256 * 1024


class Interventions:
    """All of them are events in the stream of the run's conversation; its worker hears them there."""

    def __init__(self, log: Log) -> None:
        self._log = log

    async def request_cancel(self, task_id: UUID, stream: str, by: str, reason: str = "") -> bool:
        """Ask whichever node runs the task to end it. `by` is an actor. False: no such task here, or it has ended."""
        record = fold(await read_events(self._log.reader, stream, task_id), task_id)
        if record is None or record.ended:
            return False
        if record.stop is None:
            asked = RunCancelRequested(by, storable(reason))
            event = NewEvent(new_id(), asked, by, task_id, record.requested_id, record.correlation_id)
            await self._log.append(stream, [event])
        return True

    async def interrupt(self, task_id: UUID, stream: str, by: str) -> bool:
        """Cut short whoever speaks now on this board or in this team; it goes on. `by` is an actor. False: no such
        meeting is being held here."""
        record = fold(await read_events(self._log.reader, stream, task_id), task_id)
        if record is None or record.ended or record.began_at is None:
            return False
        if record.requested.mode not in MEETING_MODES:
            return False
        cut = NewEvent(
            new_id(), SpeakerInterrupted(by), by, task_id, record.requested_id, record.correlation_id
        )
        await self._log.append(stream, [cut])
        return True

    async def reply(self, stream: str, request_id: str, content: str, by: str) -> None:
        """Answer a question of a run, on whatever node. `by` is an actor. Raises `RequestNotOpen`, `MessageEmpty`,
        `MessageTooLong`; then the question is as open as before."""
        if not content.strip():
            raise refused.MessageEmpty
        size_bytes = len(content.encode(errors="replace"))
        if size_bytes > MESSAGE_BYTES_MAX:
            raise refused.MessageTooLong(size=size_bytes, limit=MESSAGE_BYTES_MAX)
        record, _ = await self._open_request(stream, request_id, HumanAsked)
        await self._settle(stream, record, request_id, HumanAnswered(request_id, storable(content), by), by)

    async def confirm(self, stream: str, confirmation_id: str, approved: bool, by: str) -> None:
        """Agree to exactly the call that was shown, or refuse it. Raises `RequestNotOpen`."""
        record, asked = await self._open_request(stream, confirmation_id, ConfirmationRequested)
        answered = ConfirmationAnswered(confirmation_id, approved, asked.digest, by)
        await self._settle(stream, record, confirmation_id, answered, by)

    async def _open_request(self, stream: str, request_id: str, kind: type[R]) -> tuple[RunRecord, R]:
        task_id = task_of(request_id)
        if task_id is not None:
            record = fold(await read_events(self._log.reader, stream, task_id), task_id)
            asked = record.requests.get(request_id) if record is not None else None
            open_ = record is not None and not record.ended and request_id not in record.replies
            if (
                record is not None
                and open_
                and isinstance(asked, kind)
                and asked.deadline_at > datetime.now(UTC)
            ):
                return record, asked
        raise refused.RequestNotOpen(id=storable(request_id)[:80])

    async def _settle(
        self,
        stream: str,
        record: RunRecord,
        request_id: str,
        reply: HumanAnswered | ConfirmationAnswered,
        by: str,
    ) -> None:
        event = NewEvent(new_id(), reply, by, record.task_id, record.requested_id, record.correlation_id)
        try:
            appended = await self._log.append(stream, [event], idempotency_key=reply_key(request_id))
        except IdempotencyMismatch:
            raise refused.RequestNotOpen(id=request_id) from None
        if appended.duplicate:
            raise refused.RequestNotOpen(id=request_id)
