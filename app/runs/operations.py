"""Long-running tools: the call answers at once, and the work goes on as a task of its own (wire contract, section 6).

The task is a run like any other (mode `operation`, one tool call), so it has a lease, survives the death of its
process, can be cancelled, and ends in one terminal event, appended with the result that takes the place of the pending
one.
"""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID
from weakref import WeakValueDictionary

import msgspec
import structlog

from app.core.events import OperationStarted, RunLimits, RunRequested, ToolRef
from app.core.ids import derived_id
from app.core.intents import ToolResult
from app.core.messages import ToolCall, storable
from app.log.errors import LogUnavailable
from app.runs.ledger import Ledger
from app.runs.record import RunRecord

MODE = "operation"
FIND_WAITS_SECONDS = (0.1, 0.5, 1.0, 2.0, 4.0)
Find = Callable[[str, str, str], Awaitable[UUID | None]]
"""The open operation of a stream, tool name and arguments (JSON text)."""

logger = structlog.get_logger(__name__)


class Starts(msgspec.Struct, frozen=True):
    """What operations need of the process: where open ones are found, and how a new one is set going."""

    find: Find
    spawn: Callable[[UUID, str], object]
    locks: WeakValueDictionary[str, asyncio.Lock] = msgspec.field(default_factory=WeakValueDictionary)

    def lock(self, stream: str) -> asyncio.Lock:
        """One operation of a conversation is started at a time, so that the same call is not started twice."""
        return self.locks.setdefault(stream, asyncio.Lock())


class Operations:
    """The operations that one run starts."""

    def __init__(self, record: RunRecord, ledger: Ledger, starts: Starts) -> None:
        self._record = record
        self._ledger = ledger
        self._starts = starts

    async def start(self, step: int, call: ToolCall, ref: ToolRef) -> ToolResult:
        """`operation_started`, or `operation_in_progress` where the same call goes on in this conversation."""
        stream = self._ledger.stream
        arguments = canonical(call.arguments)
        started = self._record.operations.get(step)
        if started is not None:  # before a crash
            self._starts.spawn(UUID(started.operation_id), stream)
            return _told(call, "operation_started", started.operation_id, started.message)
        async with self._starts.lock(stream):
            if (running := await self._find(stream, call.name, arguments)) is not None:
                message = f"{call.name} with these arguments is still running; its result comes by itself."
                return _told(call, "operation_in_progress", str(running), message)
            operation_id = derived_id(self._record.task_id, "operation", step)
            await self._append(step, operation_id, call, arguments, ref)
        self._starts.spawn(operation_id, stream)
        return _told(call, "operation_started", str(operation_id), _message(call))

    async def _find(self, stream: str, name: str, arguments: str) -> UUID | None:
        """Asked again while the database is away. Raises `LogUnavailable`, for a worker of later."""
        for wait_seconds in FIND_WAITS_SECONDS:
            try:
                return await self._starts.find(stream, name, arguments)
            except Exception:
                logger.warning("operations_not_found", stream=stream, tool=name, exc_info=True)
                await asyncio.sleep(wait_seconds)
        raise LogUnavailable("the view of the open operations does not answer; the run goes on when it does")

    async def _append(
        self, step: int, operation_id: UUID, call: ToolCall, arguments: str, ref: ToolRef
    ) -> None:
        parent = self._record.requested
        requested = RunRequested(
            call.id,
            arguments,
            parent.agent,
            MODE,
            1,
            method="operation",
            tools=(msgspec.structs.replace(ref, long_running=False),),
            limits=RunLimits(1, ref.timeout_seconds),
            locale=parent.locale,
            parent=str(self._record.task_id),
            department_id=parent.department_id,
            charged_to=parent.charged_to,
            bound=parent.bound,
        )
        started = OperationStarted(
            str(operation_id), call.name, _message(call), call.id, storable(call.arguments), step
        )
        noted = self._ledger.event(started, derived_id(operation_id, "started"))
        child = self._ledger.event(
            requested, derived_id(operation_id, "requested"), noted.id, task_id=operation_id
        )
        await self._ledger.append([child, noted])
        self._record.operations[step] = started


def canonical(arguments: str) -> str:
    """The same text for the same JSON value: keys sorted, no white space."""
    try:
        decoded = msgspec.json.decode(arguments)
    except msgspec.DecodeError:
        return storable(arguments)
    return msgspec.json.encode(decoded, order="deterministic").decode()


def _message(call: ToolCall) -> str:
    return (
        f"{call.name} goes on in the background; its result takes the place of this message when it is there."
    )


def _told(call: ToolCall, status: str, operation_id: str, message: str) -> ToolResult:
    content = {"status": status, "operation_id": operation_id, "tool_name": call.name, "message": message}
    return ToolResult(call.id, call.name, msgspec.json.encode(content).decode())
