"""Carrying out intents: a model call, whose text is shown while it comes, and a tool call."""

import time
from collections.abc import Callable
from datetime import datetime
from typing import assert_never
from uuid import UUID

import msgspec
import structlog

from app.core.events import ModelAnswered, ModelFailed, RunRequested, ToolCalled, ToolReturned
from app.core.ids import derived_id
from app.core.intents import CallModel, CallTool, Intent, Listen, TakeMinute, ToolResult
from app.core.messages import ModelAnswer, ModelRequest, ToolCall, storable
from app.core.streams import conversation_key
from app.core.texts import Locale, text
from app.gateway.model import AttemptBegun, AttemptFailed, Model, ModelError, TextDelta, ThinkingDelta
from app.log.live import LiveAnswers
from app.runs.record import Closed, outcome_id
from app.tools.tool import ToolContext
from app.tools.toolbox import ToolBox, unknown_tool

PARTIAL_CHARS_MAX = 100_000

EFFECT_UNKNOWN = (
    "It is not known whether this call of {name} took effect: the work was interrupted while it was running. "
    "It was not repeated. Find out or ask the user before you call it again."
)

logger = structlog.get_logger(__name__)


class Numbered(msgspec.Struct, frozen=True):
    """An intent at its place in the run: `step` counts from 1, `key` is its digest."""

    step: int
    key: str
    intent: Intent


class Effects:
    """Everything a run does to the world. One for each run; it knows what there is of the answers being written."""

    def __init__(
        self,
        model: Model,
        toolbox: ToolBox,
        live: LiveAnswers,
        *,
        task_id: UUID,
        stream: str,
        requested: RunRequested,
        locale: Locale,
        now: Callable[[], datetime],
    ) -> None:
        self._partial: dict[int, list[str]] = {}
        self._model = model
        self._toolbox = toolbox
        self._live = live
        self._task_id = task_id
        self._stream = stream
        self._refs = {ref.spec.name: ref for ref in requested.tools}
        self._locale: Locale = locale
        self._now = now
        key = conversation_key(stream)
        self._owner, self._conversation_id = key if key is not None else ("", stream)

    async def carry_out(self, one: Numbered, *, offset: int) -> Closed:
        """The intent's outcome. Never raises but for a cancellation. `offset` is where the intent stands."""
        match one.intent:
            case CallModel(request):
                return await self._call_model(one.step, one.key, request, offset)
            case CallTool(call):
                return await self._call_tool(one.step, one.key, call)
            case TakeMinute() | Listen():
                raise NotImplementedError
            case _ as never:
                assert_never(never)

    async def _call_model(
        self, step: int, key: str, request: ModelRequest, offset: int
    ) -> ModelAnswered | ModelFailed:
        """The live answer stays open and sealed; `close` ends it."""
        began = time.monotonic()
        answer_id = outcome_id(self._task_id, step)
        self._partial[step] = []
        self._live.open(answer_id, stream=self._stream, task_id=self._task_id, after_offset=offset)
        try:
            answer = await self._stream_answer(step, request, answer_id)
            return ModelAnswered(step, key, answer, _milliseconds(began))
        except ModelError as error:
            error_class, message = error.error_class, str(error)
        except Exception:
            reference = str(answer_id)[:8]
            logger.exception("model_call_broke", task_id=str(self._task_id), step=step, reference=reference)
            error_class, message = "internal", text("internal", self._locale, reference=reference)
        finally:
            await self._live.seal(answer_id)
        return ModelFailed(step, key, error_class, message, self.partial_text(step), _milliseconds(began))

    async def _stream_answer(self, step: int, request: ModelRequest, answer_id: UUID) -> ModelAnswer:
        answer: ModelAnswer | None = None
        stream = self._model.stream(request)
        try:
            async for event in stream:
                match event:
                    case TextDelta(delta):
                        self._partial[step].append(storable(delta))
                        self._live.add(answer_id, storable(delta))
                    case ThinkingDelta(delta):
                        self._live.add(answer_id, storable(delta), "thinking")
                    case AttemptBegun() | AttemptFailed():
                        pass
                    case ModelAnswer():
                        answer = event
        finally:
            if (close := getattr(stream, "aclose", None)) is not None:
                await close()
        if answer is None:
            raise ModelError(
                "malformed_answer", "The model's answer broke off before its end.", transient=True
            )
        return _storable_answer(answer)

    async def _call_tool(self, step: int, key: str, call: ToolCall) -> ToolReturned:
        """Only tools that the run was given are called."""
        began = time.monotonic()
        ref = self._refs.get(call.name)
        if ref is None:
            result = unknown_tool(call, self._refs)
        else:
            context = ToolContext(
                self._owner,
                self._conversation_id,
                self._task_id,
                str(derived_id(self._task_id, "effect", step, key)),
                self._now,
            )
            result = await self._toolbox.call(call, context, timeout_seconds=ref.timeout_seconds)
        return tool_returned(step, key, result, _milliseconds(began))

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
