"""One attempt at one model: what it says as far as it may be shown, and how it ended.

The model is read in a task of its own, so that the time limit also holds for one that does not let itself be stopped.
"""

import asyncio
import time
from collections.abc import AsyncGenerator

import structlog

from app.core.events import Tier
from app.core.messages import ModelAnswer, ModelRequest, Usage
from app.core.reasons import Reason
from app.gateway.model import (
    AttemptBegun,
    AttemptFailed,
    Model,
    ModelError,
    ModelEvent,
    TextDelta,
    ThinkingDelta,
)
from app.telemetry import figures, tracing

EVENTS_WAITING_MAX = 64
STOP_SECONDS = 1.0

logger = structlog.get_logger(__name__)
_strays: set[asyncio.Task[None]] = set()
"""Tasks of models that did not stop when they were asked to; kept so that they are not collected while they run."""


class _Ended:
    """The last thing that a model's task hands over."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class Attempt:
    """Run `deltas` to its end, then exactly one of `answer` and `failure` is set.

    `shown`: something that is more than blank came out, so that no other attempt may follow. Blank text is held back
    until then (in `held`): an answer that is nothing else counts as empty.
    """

    def __init__(
        self, model: Model, request: ModelRequest, *, timeout_seconds: float, tier: Tier = "main"
    ) -> None:
        self._model = model
        self._request = request
        self._timeout_seconds = timeout_seconds
        self._tier: Tier = tier
        self._began = time.monotonic()
        self.shown = False
        self.held: list[TextDelta] = []
        self.answer: ModelAnswer | None = None
        self.failure: ModelError | None = None

    @property
    def duration_ms(self) -> int:
        return round((time.monotonic() - self._began) * 1000)

    @property
    def is_empty(self) -> bool:
        """Whether it ended with neither text nor tool calls."""
        return self.answer is not None and not self.answer.tool_calls and not self.answer.text.strip()

    async def deltas(self) -> AsyncGenerator[TextDelta | ThinkingDelta, None]:
        """What may be shown. Raises no `Exception`: what the model raises becomes `failure`."""
        events = within(self._model, self._request, timeout_seconds=self._timeout_seconds)
        span = tracing.model_span(
            self._model.name,
            gen_ai__request__temperature=self._request.temperature,
            gen_ai__request__max_tokens=self._request.max_tokens,
            minutebook__tier=self._tier,
        )
        try:
            async for event in events:
                match event:
                    case TextDelta(text) if not self.shown and not text.strip():
                        self.held.append(event)
                    case TextDelta() | ThinkingDelta():
                        self.shown = True
                        for held in self.held:
                            yield held
                        self.held = []
                        yield event
                    case ModelAnswer():
                        self.answer = event
                    case AttemptBegun() | AttemptFailed():
                        pass  # of a gateway in the place of a model
        except ModelError as error:
            self.answer, self.failure = None, error
        except Exception as error:
            logger.exception("model_broke", model=self._model.name)
            reason = Reason("model_failed", {"name": self._model.name})
            self.answer, self.failure = None, ModelError("internal", reason, transient=False)
            self.failure.__cause__ = error
        else:
            if self.answer is None:
                reason = Reason("model_stopped", {"name": self._model.name})
                self.failure = ModelError("malformed_answer", reason, transient=True)
        finally:
            self._observe(span)
            await events.aclose()

    def _observe(self, span: tracing.Traced) -> None:
        """A span and a figure. The name of the model is that of the settings: what a request asks for is no label."""
        answer = self.answer
        usage = Usage() if answer is None else answer.usage
        if self.failure is not None:
            outcome = self.failure.error_class
        elif answer is None:
            outcome = "cancelled"
        else:
            outcome = "empty_answer" if self.is_empty else "answered"
        if outcome == "answered":
            span.note(gen_ai__response__model=answer and answer.model)
        else:
            span.fail(outcome)
        span.note(
            gen_ai__usage__input_tokens=usage.prompt_tokens,
            gen_ai__usage__output_tokens=usage.completion_tokens,
        )
        span.end()
        seconds = time.monotonic() - self._began
        figures.model_call(
            self._model.name, self._tier, outcome, seconds, usage.prompt_tokens, usage.completion_tokens
        )


async def within(
    model: Model, request: ModelRequest, *, timeout_seconds: float
) -> AsyncGenerator[ModelEvent, None]:
    """What the model yields, for at most `timeout_seconds`, then a `timeout`; raises what the model raises.

    When it is closed, the model is stopped; one that does not stop within 1 s is left to itself.
    """
    deadline = asyncio.get_running_loop().time() + timeout_seconds
    events: asyncio.Queue[ModelEvent | _Ended] = asyncio.Queue(EVENTS_WAITING_MAX)
    reading = asyncio.create_task(_read(model, request, events), name=f"model-{model.name}")
    try:
        while True:
            event = await _next(events, deadline)
            if event is None:
                reason = Reason("model_took_long", {"seconds": timeout_seconds})
                raise ModelError("timeout", reason, transient=True)
            if isinstance(event, _Ended):
                if event.error is not None:
                    raise event.error
                return
            yield event
    finally:
        await _stop(reading, model)


async def _read(model: Model, request: ModelRequest, events: asyncio.Queue[ModelEvent | _Ended]) -> None:
    ended = _Ended(None)
    task = asyncio.current_task()
    stream = model.stream(request)
    try:
        async for event in stream:
            if task is not None and task.cancelling():
                return  # the model has swallowed the cancellation
            await events.put(event)
    except (KeyboardInterrupt, SystemExit):
        raise
    except asyncio.CancelledError:
        if task is not None and task.cancelling():
            raise
        reason = Reason("model_of_name_broke_off", {"name": model.name})
        ended = _Ended(ModelError("internal", reason, transient=True))  # it was cancelled, not we
    except BaseException as error:
        ended = _Ended(error)
    finally:
        if isinstance(stream, AsyncGenerator):
            await stream.aclose()
    await events.put(ended)


async def _next(events: asyncio.Queue[ModelEvent | _Ended], deadline: float) -> ModelEvent | _Ended | None:
    """None once the deadline has passed, whether or not there is more."""
    if asyncio.get_running_loop().time() >= deadline:
        return None
    if not events.empty():
        return events.get_nowait()
    try:
        async with asyncio.timeout_at(deadline):
            return await events.get()
    except TimeoutError:
        return None


async def _stop(reading: asyncio.Task[None], model: Model) -> None:
    if not reading.done():
        reading.cancel()
        _strays.add(reading)
        reading.add_done_callback(_forget)
        await asyncio.wait({reading}, timeout=STOP_SECONDS)
        if not reading.done():
            logger.warning("model_does_not_stop", model=model.name, waited_seconds=STOP_SECONDS)


def _forget(reading: asyncio.Task[None]) -> None:
    _strays.discard(reading)
    if not reading.cancelled():
        reading.exception()  # nobody waits for it any more
