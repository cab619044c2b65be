"""What operators see of runs and of their calls of tools: a span and a figure for each, a line for each run."""

import time
from collections.abc import Generator
from contextlib import contextmanager

import structlog

from app.core.intents import ToolResult
from app.core.messages import ToolCall
from app.core.streams import conversation_key
from app.runs.record import RunRecord
from app.telemetry import figures, tracing

logger = structlog.get_logger(__name__)
LEFT = "left"
"""The outcome of a run that goes on elsewhere."""


class Observed:
    """What comes of it; an exception where nobody says."""

    def __init__(self, span: tracing.Traced) -> None:
        self._span = span
        self.outcome = ""

    def ends(self, outcome: str, *, failed: bool) -> None:
        """`outcome` is a word, or the class of the error."""
        self.outcome = outcome
        if failed:
            self._span.fail(outcome)

    def note(self, **attributes: tracing.Value | None) -> None:
        self._span.note(**attributes)


@contextmanager
def observed_run(record: RunRecord, stream: str) -> Generator[Observed]:
    """A run in this process, from its claim on."""
    requested, began = record.requested, time.monotonic()
    key = conversation_key(stream)
    agent = requested.expert_id or requested.agent or "assistant"
    with tracing.run_span(
        agent,
        gen_ai__conversation__id=key.conversation_id if key is not None else stream,
        minutebook__task__id=str(record.task_id),
        minutebook__mode=requested.mode,
    ) as span:
        observed = Observed(span)
        try:
            yield observed
        finally:
            outcome = observed.outcome or LEFT
            span.note(
                minutebook__outcome=outcome,
                gen_ai__usage__input_tokens=record.usage.prompt_tokens,
                gen_ai__usage__output_tokens=record.usage.completion_tokens,
            )
            seconds = time.monotonic() - began
            figures.run(requested.mode, outcome, seconds)
            logger.info("run", mode=requested.mode, outcome=outcome, milliseconds=round(seconds * 1000, 1))


@contextmanager
def observed_tool(call: ToolCall, *, known: bool) -> Generator[Observed]:
    """A call of a tool. Names that a model has made up are all one."""
    name, began = call.name if known else "unknown", time.monotonic()
    with tracing.tool_span(name, call.id) as span:
        observed = Observed(span)
        try:
            yield observed
        finally:
            figures.tool_call(name, observed.outcome or "cancelled", time.monotonic() - began)


def note_result(observed: Observed, result: ToolResult) -> None:
    """How the call has ended."""
    error = result.error_class
    observed.ends(error or "returned", failed=bool(error))
