"""Carrying out intents: a model call, whose text is shown while it comes, and a tool call.

tool call ──► operation (long-running tool)            ──► started: goes on as a task of its own
          ──► confirmation (a tool that needs consent) ──► refused, or called
          ──► called
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any, assert_never
from uuid import UUID

import msgspec
import structlog

from app.core.events import (
    ModelAnswered,
    ModelAttemptFailed,
    ModelFailed,
    Tier,
    ToolCalled,
    ToolReturned,
)
from app.core.ids import derived_id
from app.core.intents import (
    AwaitRun,
    CallModel,
    CallTool,
    Intent,
    Listen,
    StartRun,
    TakeMinute,
    TellRun,
    ToolResult,
)
from app.core.messages import ModelAnswer, ModelRequest, ToolCall, storable
from app.core.reasons import Reason
from app.core.streams import conversation_key
from app.core.texts import Locale, text
from app.gateway.model import AttemptBegun, AttemptFailed, Model, ModelError, TextDelta, ThinkingDelta
from app.log.errors import LogError
from app.log.live import LiveAnswers
from app.runs.ledger import Ledger
from app.runs.observed import note_result, observed_tool
from app.runs.operations import Operations
from app.runs.people import CallPeople, Requests, request_id
from app.runs.record import Closed, RunRecord, intent_id, outcome_id
from app.tools.tool import ToolContext
from app.tools.toolbox import ToolBox, unknown_tool

PARTIAL_CHARS_MAX = 100_000

EFFECT_UNKNOWN = (
    "It is not known whether this call of {name} took effect: the work was interrupted while it was running. "
    "It was not repeated. Find out or ask the user before you call it again."
)

REFUSED = (
    "The person refused this call of {name}. Do not try it again; go on without, or ask what to do instead."
)
NOT_CONFIRMED = "Nobody agreed to this call of {name} in time, so it was not carried out."

logger = structlog.get_logger(__name__)


class Numbered(msgspec.Struct, frozen=True):
    """An intent at its place in the run: `step` counts from 1, `key` is its digest."""

    step: int
    key: str
    intent: Intent


class Attempts:
    """Which attempt of a model call it is; former workers' attempts count too."""

    def __init__(self, before: int, *, aside: bool) -> None:
        self._before = before
        self.aside = aside
        self.number = before + 1
        self.tier: Tier = "main"

    def begun(self, event: AttemptBegun) -> None:
        self.number, self.tier = self._before + event.attempt, event.tier


class Effects:
    """Everything a run does to the world. One for each run; it knows what there is of the answers being written."""

    def __init__(
        self,
        model: Model,
        toolbox: ToolBox,
        live: LiveAnswers,
        *,
        record: RunRecord,
        ledger: Ledger,
        requests: Requests,
        operations: Operations,
        locale: Locale,
        now: Callable[[], datetime],
    ) -> None:
        self._partial: dict[int, list[str]] = {}
        self._speaking: asyncio.Future[None] | None = None
        self._model = model
        self._toolbox = toolbox
        self._live = live
        self._record = record
        self._ledger = ledger
        self._requests = requests
        self._operations = operations
        self._task_id = record.task_id
        self._stream = ledger.stream
        self._refs = {ref.spec.name: ref for ref in record.requested.tools}
        self._locale: Locale = locale
        self._charged = (record.requested.charged_to, record.requested.bound)
        self._now = now
        key = conversation_key(ledger.stream)
        self._owner, self._conversation_id = key if key is not None else ("", ledger.stream)

    async def carry_out(self, one: Numbered) -> Closed:
        """The outcome of a call. Raises only what the ledger raises, and cancellations."""
        match one.intent:
            case CallModel(request, aside, speaker):
                return await self._call_model(one.step, one.key, request, aside=aside, speaks=bool(speaker))
            case CallTool(call):
                return await self._call_tool(one.step, one.key, call)
            case TakeMinute() | Listen() | StartRun() | AwaitRun() | TellRun():
                raise TypeError("only calls of models and tools are carried out here")
            case _ as never:
                assert_never(never)

    async def _call_model(
        self, step: int, key: str, request: ModelRequest, *, aside: bool, speaks: bool
    ) -> ModelAnswered | ModelFailed:
        """The live answer stays open and sealed; `close` ends it."""
        began = time.monotonic()
        answer_id = outcome_id(self._task_id, step)
        self._partial[step] = []
        attempts = Attempts(self._record.attempts.get(step, 0), aside=aside)
        self._live.open(
            answer_id, stream=self._stream, task_id=self._task_id, after_offset=self._ledger.offset
        )
        try:
            answering = self._stream_answer(step, key, request, answer_id, attempts)
            answer = await (self._interruptible(answering) if speaks else answering)
            cost_usd = self._model.cost_usd(answer)
            return ModelAnswered(
                step,
                key,
                answer,
                _milliseconds(began),
                attempts.number,
                attempts.tier,
                cost_usd,
                aside,
                *self._charged,
            )
        except ModelError as error:
            error_class, message = error.error_class, error.told(self._locale)
        except LogError:
            raise
        except Exception:
            reference = str(answer_id)[:8]
            logger.exception("model_call_broke", task_id=str(self._task_id), step=step, reference=reference)
            error_class, message = "internal", text("internal", self._locale, reference=reference)
        finally:
            await self._live.seal(answer_id)
        return ModelFailed(
            step,
            key,
            error_class,
            message,
            self.partial_text(step),
            _milliseconds(began),
            attempts.number,
            attempts.tier,
        )

    def interrupt(self) -> None:
        """Cut short whoever is speaking now; the run goes on."""
        if self._speaking is not None and not self._speaking.done():
            self._speaking.set_result(None)

    async def _interruptible(self, answering: Coroutine[Any, Any, ModelAnswer]) -> ModelAnswer:
        """The answer, unless somebody cuts it short: then `ModelError` `interrupted`."""
        work = asyncio.ensure_future(answering)
        self._speaking = asyncio.get_running_loop().create_future()
        try:
            await asyncio.wait({work, self._speaking}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            raise ModelError("interrupted", Reason("model_interrupted"), transient=False)
        finally:
            self._speaking = None
            if not work.done():
                work.cancel()
                await asyncio.wait({work})

    async def _stream_answer(
        self, step: int, key: str, request: ModelRequest, answer_id: UUID, attempts: Attempts
    ) -> ModelAnswer:
        answer: ModelAnswer | None = None
        stream = self._model.stream(request)
        try:
            async for event in stream:
                match event:
                    case TextDelta(delta):
                        self._partial[step].append(storable(delta))
                        self._live.add(answer_id, storable(delta), "thinking" if attempts.aside else "text")
                    case ThinkingDelta(delta):
                        self._live.add(answer_id, storable(delta), "thinking")
                    case AttemptBegun():
                        attempts.begun(event)
                    case AttemptFailed():
                        await self._note_attempt(step, key, event, attempts.number)
                    case ModelAnswer():
                        answer = event
        finally:
            if (close := getattr(stream, "aclose", None)) is not None:
                await close()
        if answer is None:
            raise ModelError("malformed_answer", Reason("model_broke_off"), transient=True)
        return _storable_answer(answer)

    async def _note_attempt(self, step: int, key: str, failed: AttemptFailed, number: int) -> None:
        noted = ModelAttemptFailed(
            step,
            key,
            number,
            failed.tier,
            failed.model,
            failed.error_class,
            storable(failed.message),
            failed.duration_ms,
            failed.usage,
            failed.cost_usd,
            *self._charged,
        )
        self._record.usage += failed.usage
        self._record.cost_usd += failed.cost_usd or 0.0
        event_id = derived_id(self._task_id, "attempt", step, number)
        await self._ledger.append([self._ledger.event(noted, event_id, intent_id(self._task_id, step))])

    async def _call_tool(self, step: int, key: str, call: ToolCall) -> ToolReturned:
        """Only tools that the run was given are called."""
        began = time.monotonic()
        with observed_tool(call, known=call.name in self._refs) as observed:
            result = await self._result(step, key, call)
            note_result(observed, result)
        return tool_returned(step, key, result, _milliseconds(began))

    async def _result(self, step: int, key: str, call: ToolCall) -> ToolResult:
        ref = self._refs.get(call.name)
        if ref is None:
            return unknown_tool(call, self._refs)
        if ref.long_running:
            return await self._operations.start(step, call, ref)
        if ref.confirm and (refusal := await self._refusal(step, call)) is not None:
            return refusal
        return await self._toolbox.call(
            call, self._context(step, key, call.id), timeout_seconds=ref.timeout_seconds
        )

    def _context(self, step: int, key: str, call_id: str) -> ToolContext:
        return ToolContext(
            self._owner,
            self._conversation_id,
            self._task_id,
            str(derived_id(self._task_id, "effect", step, key)),
            self._now,
            CallPeople(self._requests, self._task_id, step, call_id),
        )

    async def _refusal(self, step: int, call: ToolCall) -> ToolResult | None:
        """Why a tool that needs consent is not called; None where a person agreed to exactly this call."""
        command, reason = self._toolbox.shown(call)
        request = request_id(self._task_id, step)
        reply = await self._requests.consent(request, step, call, command, reason)
        if reply is not None and reply.approved:
            return None
        why = NOT_CONFIRMED if reply is None else REFUSED
        return ToolResult(call.id, call.name, why.format(name=call.name), "refused")

    def partial_text(self, step: int) -> str:
        """At most 100 000 characters."""
        return "".join(self._partial.get(step, ()))[:PARTIAL_CHARS_MAX]

    def close(self, step: int) -> None:
        """The step's outcome is in the log: forget what was shown of it."""
        self._partial.pop(step, None)
        self._live.drop(outcome_id(self._task_id, step))


def tool_returned(step: int, key: str, result: ToolResult, duration_ms: int = 0) -> ToolReturned:
    return ToolReturned(
        step, key, result.call_id, result.name, result.content, result.error_class, duration_ms
    )


def effect_unknown(called: ToolCalled) -> ToolReturned:
    """The outcome of a `once` tool that was interrupted."""
    content = EFFECT_UNKNOWN.format(name=called.name)
    return ToolReturned(called.step, called.key, called.call_id, called.name, content, "effect_unknown")


def _storable_answer(answer: ModelAnswer) -> ModelAnswer:
    calls = tuple(
        msgspec.structs.replace(call, name=storable(call.name), arguments=storable(call.arguments))
        for call in answer.tool_calls
    )
    return msgspec.structs.replace(
        answer, text=storable(answer.text), thinking=storable(answer.thinking), tool_calls=calls
    )


def _milliseconds(began: float) -> int:
    return round((time.monotonic() - began) * 1000)
