"""People in the loop: questions and confirmations are events with a deadline, not futures.

    asked ──► answered (first answer, by anybody, on any node) ──► the run goes on
      └─────► unanswered / expired (deadline, or the run's end)

Both ends of a request are written with the same idempotency key, so exactly one of them is in the log. Nothing here is
needed to go on after a restart: the worker that takes the run over finds the request, its deadline and its answer in
the log.
"""

import asyncio
import hashlib
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec

from app.core.events import (
    ConfirmationAnswered,
    ConfirmationExpired,
    ConfirmationRequested,
    ConfirmationUsed,
    Event,
    HumanAnswered,
    HumanAsked,
    HumanUnanswered,
)
from app.core.ids import derived_id
from app.core.messages import ToolCall, storable
from app.log.errors import IdempotencyMismatch
from app.runs.ledger import Ledger
from app.runs.record import Reply, RunRecord, request_of
from app.runs.slots import Slot

DEADLINE_SECONDS = 300.0
QUESTION_CHARS_MAX = 4_000


def request_id(task_id: UUID, step: int, number: int = 0) -> str:
    """Of the step's question or confirmation. It names the task, so that a reply finds its run without an index."""
    return f"{task_id}.{step}" if number == 0 else f"{task_id}.{step}.{number}"


def task_of(request: str) -> UUID | None:
    """The task that asked; None for what is no request id."""
    try:
        return UUID(request[:36]) if request[36:37] == "." else None
    except ValueError:
        return None


def reply_key(request: str) -> str:
    """Idempotency key of whatever ends a request."""
    return f"reply/{request}"


def digest_of(call: ToolCall) -> str:
    """What a confirmation binds to: SHA-256 of the tool's name and its exact arguments, in hex."""
    return hashlib.sha256(msgspec.json.encode((call.name, call.arguments))).hexdigest()


class Requests:
    """The questions and confirmations of one run, in the process that has the run."""

    def __init__(
        self,
        record: RunRecord,
        ledger: Ledger,
        slot: Slot,
        *,
        replies: Iterable[Reply] = (),
        deadline_seconds: float = DEADLINE_SECONDS,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._record = record
        self._ledger = ledger
        self._slot = slot
        self._deadline = timedelta(seconds=deadline_seconds)
        self._now = now
        self._waiters: dict[str, asyncio.Future[Reply]] = {}
        self._since: dict[str, datetime] = {}
        for reply in replies:
            self.told(reply)

    @property
    def waiting(self) -> bool:
        """Whether the run waits for a person now."""
        return bool(self._waiters)

    @property
    def waited(self) -> timedelta:
        """How long the run has waited for people, this worker's and former workers' waits together."""
        open_waits = [self._now() - since for since in self._since.values()]
        return sum((*self._record.waited.values(), *open_waits), start=timedelta())

    def told(self, reply: Reply) -> None:
        """A reply is in the log."""
        request = request_of(reply)
        self._record.replies.setdefault(request, reply)
        waiter = self._waiters.get(request)
        if waiter is not None and not waiter.done():
            waiter.set_result(reply)

    async def ask(self, request: str, step: int, call_id: str, question: str) -> str | None:
        """A person's answer; None where nobody answered in time."""
        asked = HumanAsked(
            request, step, storable(question)[:QUESTION_CHARS_MAX], self._now() + self._deadline, call_id
        )
        reply = await self._reply(request, asked)
        return reply.content if isinstance(reply, HumanAnswered) else None

    async def consent(
        self, request: str, step: int, call: ToolCall, command: str, reason: str
    ) -> ConfirmationAnswered | None:
        """A person's word on exactly this call; None where nobody gave it in time. A consent is used once: the event
        of its use stands before the call begins."""
        digest = digest_of(call)
        asked = ConfirmationRequested(
            request,
            step,
            call.name,
            storable(command),
            storable(reason),
            digest,
            self._now() + self._deadline,
            call.id,
        )
        reply = await self._reply(request, asked)
        if not isinstance(reply, ConfirmationAnswered):
            return None
        if reply.approved and reply.digest != digest:
            return msgspec.structs.replace(reply, approved=False)
        if reply.approved and request not in self._record.used:
            await self._append(ConfirmationUsed(request, step, digest), f"used/{request}")
            self._record.used.add(request)
        return reply

    async def close(self) -> None:
        """The run ends: what is still open counts as unanswered."""
        for request, asked in self._record.requests.items():
            if request not in self._record.replies:
                await self._end(request, asked, "run_ended")

    async def _reply(self, request: str, asked: HumanAsked | ConfirmationRequested) -> Reply:
        # Before the question is in the log: whoever sees it there may stop this process, and the run waits then.
        waiter = self._waiters[request] = asyncio.get_running_loop().create_future()
        try:
            known = self._record.requests.get(request)
            if known is None:
                self._record.requests[request] = known = asked
                await self._append(asked, f"asked/{request}")
            if (reply := self._record.replies.get(request)) is not None:
                return reply
            return await self._wait(request, known, waiter)
        finally:
            del self._waiters[request]

    async def _wait(
        self, request: str, asked: HumanAsked | ConfirmationRequested, waiter: asyncio.Future[Reply]
    ) -> Reply:
        began = self._since[request] = self._record.asked_at.get(request) or self._now()
        try:
            async with self._slot.lent():
                left = (asked.deadline_at - self._now()).total_seconds()
                await asyncio.wait({waiter}, timeout=max(0.0, left))
                if not waiter.done() and (reply := await self._end(request, asked, "deadline")) is not None:
                    return reply
                return await waiter
        finally:
            del self._since[request]
            self._record.waited[request] = self._now() - began

    async def _end(
        self, request: str, asked: HumanAsked | ConfirmationRequested, reason: str
    ) -> HumanUnanswered | ConfirmationExpired | None:
        """Say that nobody answered. None: somebody was faster, and the answer is on its way."""
        ended = (
            HumanUnanswered(request, reason)
            if isinstance(asked, HumanAsked)
            else ConfirmationExpired(request, reason)
        )
        try:
            await self._append(ended, f"ended/{request}", key=reply_key(request))
        except IdempotencyMismatch:
            return None
        self._record.replies[request] = ended
        return ended

    async def _append(self, payload: Event, name: str, *, key: str | None = None) -> None:
        event_id = derived_id(self._record.task_id, name)
        await self._ledger.append([self._ledger.event(payload, event_id)], key=key)


class CallPeople:
    """`People` for one tool call: a call that is done again after a crash finds its questions and their answers."""

    def __init__(self, requests: Requests, task_id: UUID, step: int, call_id: str) -> None:
        self._requests = requests
        self._task_id = task_id
        self._step = step
        self._call_id = call_id
        self._number = 0

    async def ask(self, question: str) -> str | None:
        request = request_id(self._task_id, self._step, self._number)
        self._number += 1
        return await self._requests.ask(request, self._step, self._call_id, question)
