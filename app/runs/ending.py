"""How a run ends, and what is said with it: the events that close what is open, the content, one terminal event."""

from typing import assert_never

import msgspec

from app.core.events import (
    ChildAnswered,
    ChildAwaited,
    ChildEnded,
    Event,
    MessageAnswered,
    MessageInterrupted,
    ModelAnswered,
    ModelCalled,
    ModelFailed,
    OperationFinished,
    QuotaInfo,
    RunCancelled,
    RunCompleted,
    RunFailed,
    TeamDissolved,
    TeamFormed,
    ToolCalled,
    ToolReturned,
)
from app.core.ids import derived_id
from app.core.messages import Usage
from app.core.texts import Locale, text
from app.runs.effects import effect_unknown
from app.runs.operations import MODE as OPERATION
from app.runs.people import request_id
from app.runs.record import Called, Closed, RunRecord, Stop


class Answered(msgspec.Struct, frozen=True):
    """The mode came to its end. `content` may be blank; then a fixed text stands in."""

    content: str


class Failed(msgspec.Struct, frozen=True):
    """`quota_info`: of the quota that is used up, where that is why."""

    error_class: str
    message: str
    quota_info: QuotaInfo | None = None


class Cancelled(msgspec.Struct, frozen=True):
    stop: Stop


Ending = Answered | Failed | Cancelled


def may_have_begun(record: RunRecord, called: ToolCalled) -> bool:
    """Whether a call that may not be repeated was on its way. One that waits for consent begins with its use."""
    if called.effect != "once":
        return False
    ref = next((ref for ref in record.requested.tools if ref.spec.name == called.name), None)
    needs_consent = ref is not None and ref.confirm
    return not needs_consent or request_id(record.task_id, called.step) in record.used


def closed_by(record: RunRecord, call: Called, ending: Ending, partial: str, locale: Locale) -> Closed:
    """The outcome of a call that is still open when the run ends. `partial` is what there is of its answer."""
    error_class = ending.error_class if isinstance(ending, Failed) else "cancelled"
    ended = text("call_ended", locale)
    match call:
        case ModelCalled():
            return ModelFailed(call.step, call.key, error_class, ended, partial)
        case ToolCalled() if may_have_begun(record, call):
            return effect_unknown(call)
        case ToolCalled():
            return ToolReturned(call.step, call.key, call.call_id, call.name, ended, error_class)
        case ChildAwaited():
            return ChildEnded(call.step, call.key, "", ended, error_class)
        case _ as never:
            assert_never(never)


def last_words(record: RunRecord, ending: Ending, partial: str, locale: Locale) -> list[Event]:
    """What goes with the terminal event: the answer, or what there was of it. `partial`: of an open call."""
    dissolved = _dissolved(record, ending)
    if record.requested.mode == OPERATION:
        return [_operation_finished(record, ending, locale)]
    if record.requested.parent is not None:
        return [ChildAnswered(ending.content), *dissolved] if isinstance(ending, Answered) else dissolved
    message_id = str(derived_id(record.task_id, "answer"))
    match ending:
        case Answered(content):
            thinking = _thinking(record)
            if not content.strip():
                empty = text("empty_answer", locale)
                return [*dissolved, MessageAnswered(message_id, empty, fallback=True, thinking=thinking)]
            return [*dissolved, MessageAnswered(message_id, content, thinking=thinking)]
        case Cancelled(Stop(forgotten=True)):
            return dissolved
        case Failed() | Cancelled():
            said = partial_answer(record, partial)
            return [*dissolved, *([MessageInterrupted(message_id, said)] if said else [])]


def _dissolved(record: RunRecord, ending: Ending) -> list[Event]:
    """A team is dissolved on every path."""
    notes = record.notes.values()
    formed = any(isinstance(note, TeamFormed) for note in notes)
    if not formed or any(isinstance(note, TeamDissolved) for note in notes):
        return []
    match ending:
        case Answered():
            return [TeamDissolved()]
        case Failed(error_class):
            return [TeamDissolved(error_class)]
        case Cancelled():
            return [TeamDissolved("cancelled")]


def _thinking(record: RunRecord) -> str:
    last = record.outcomes[max(record.outcomes)] if record.outcomes else None
    return last.answer.thinking if isinstance(last, ModelAnswered) else ""


def partial_answer(record: RunRecord, partial: str) -> str:
    """What there is of an answer that did not come to its end. `partial` is that of the last call, if it is open."""
    last = max(record.calls, default=0)
    match record.calls.get(last):
        case ModelCalled(aside=False, speaker=""):
            pass
        case _:
            return ""
    match record.outcomes.get(last):
        case ModelFailed(partial_text=said):
            return said
        case ModelAnswered(answer=answer):
            return "" if answer.tool_calls else answer.text
        case ToolReturned() | ChildEnded():
            return ""
        case None:
            return partial


def used(record: RunRecord) -> tuple[Usage, float | None]:
    """Tokens and US dollars of the run's own model calls, failed attempts too; None where no price was known."""
    answers = [closed for closed in record.outcomes.values() if isinstance(closed, ModelAnswered)]
    usage = sum((one.answer.usage for one in answers), start=record.usage)
    costs = [one.cost_usd for one in answers if one.cost_usd is not None]
    return usage, sum(costs) + record.cost_usd if costs or record.cost_usd else None


def terminal(record: RunRecord, ending: Ending, duration_ms: int) -> Event:
    usage, cost_usd = used(record)
    tool_calls = sum(isinstance(call, ToolCalled) for call in record.calls.values())
    totals = (len(record.calls), tool_calls, usage, duration_ms, cost_usd)
    match ending:
        case Answered():
            return RunCompleted(*totals)
        case Failed(error_class, message, quota_info):
            return RunFailed(error_class, message, *totals, quota_info)
        case Cancelled(stop):
            return RunCancelled(stop.by, stop.reason, *totals)
        case _ as never:
            assert_never(never)


def _operation_finished(record: RunRecord, ending: Ending, locale: Locale) -> OperationFinished:
    """What takes the place of an operation's pending result."""
    match ending:
        case Answered(content):
            error_class = None
        case Failed(error_class, content):
            pass
        case Cancelled(stop):
            error_class, content = "cancelled", stop.reason or text("call_ended", locale)
    requested = record.requested
    name = requested.tools[0].spec.name if requested.tools else ""
    return OperationFinished(
        str(record.task_id), name, content, error_class, requested.message_id, requested.parent or ""
    )
