"""A task's events as the portal's clients know them (wire contract, section 1).

One event of the log becomes at most one step, so that a client which resumes behind an offset misses nothing and sees
nothing twice.
"""

from datetime import datetime
from typing import Any, assert_never

import msgspec

from app.core import events as ev
from app.core.envelope import Recorded
from app.core.texts import Locale, text
from app.log.subscribe import Delta

ERROR_CHARS_MAX = 200


class Step(msgspec.Struct, frozen=True):
    """One step of a turn. `name` is `thinking`, `tool_call`, `tool_result`, `token`, `final_answer` or `step`.

    `offset` is where in the log it stands; None for tokens, which are not in the log.
    """

    name: str
    step: int
    data: dict[str, Any]
    timestamp: datetime
    offset: int | None = None


class Routed(msgspec.Struct, frozen=True):
    skill: str | None
    method: str
    confidence: float
    mode: str
    offset: int


class Ended(msgspec.Struct, frozen=True):
    """The end of a task: `completed` with the message, `failed` with one sentence, or `cancelled`."""

    status: str
    message: str
    timestamp: datetime
    offset: int
    message_id: str | None = None


Shown = Step | Routed | Ended


class Turn:
    """Folds one task's events, in their order, into what clients see. Feed it from the task's first event on."""

    def __init__(self, locale: Locale) -> None:
        self._locale: Locale = locale
        self._step = 0
        self._message = ""
        self._message_id: str | None = None
        self.routed: Routed | None = None

    def show(self, recorded: Recorded) -> Shown | None:  # noqa: C901 (a case for each event)
        """What this event is to a client; None where it shows nothing."""
        event = recorded.event()
        match event:
            case ev.RunRequested():
                self.routed = Routed(
                    event.skill or event.agent, event.method, event.confidence, event.mode, recorded.offset
                )
                return self.routed
            case ev.ModelAnswered():
                return self._thinking(event, recorded)
            case ev.ToolCalled():
                self._step = event.step
                data = {"call_id": event.call_id, "name": event.name, "arguments": parsed(event.arguments)}
                return self._shown("tool_call", data, recorded)
            case ev.ToolReturned():
                data = {"call_id": event.call_id, "name": event.name, "content": event.content}
                if event.error_class:
                    data["error"] = event.error_class
                self._step = event.step
                return self._shown("tool_result", data, recorded)
            case ev.MessageAnswered():
                self._message, self._message_id = event.content, event.message_id
                self._step += 1
                data = {"content": event.content, "message_id": event.message_id}
                return self._shown("final_answer", data, recorded)
            case ev.MessageInterrupted():
                self._message, self._message_id = event.content, event.message_id
                return self._shown("step", {"kind": "interrupted", "content": event.content}, recorded)
            case ev.RunCompleted():
                return self._ended("completed", self._message, recorded)
            case ev.RunFailed():
                return self._ended("failed", cut(event.message), recorded)
            case ev.RunCancelled():
                return self._ended("cancelled", text("cancelled", self._locale), recorded)
            case ev.RunMerged():
                return self._ended("steered", text("steered", self._locale), recorded)
            case (
                ev.LogOpened()
                | ev.ConversationCreated()
                | ev.ConversationDeleted()
                | ev.ConversationImported()
                | ev.MessageImported()
                | ev.MessageReceived()
                | ev.FileUploaded()
                | ev.RunClaimed()
                | ev.ModelCalled()
                | ev.ModelFailed()
                | ev.RunCancelRequested()
                | ev.InterventionHeard()
                | ev.ModelAttemptFailed()
                | ev.EffectUnknown()
                | ev.HumanAsked()
                | ev.HumanAnswered()
                | ev.HumanUnanswered()
                | ev.ConfirmationRequested()
                | ev.ConfirmationAnswered()
                | ev.ConfirmationExpired()
                | ev.ConfirmationUsed()
                | ev.PhaseChanged()
                | ev.PhaseViolated()
                | ev.PlanDrafted()
                | ev.AttemptCritiqued()
                | ev.HistorySummarized()
                | ev.OperationStarted()
                | ev.OperationFinished()
                | ev.SessionOpened()
                | ev.SessionClosed()
                | ev.UnknownEvent()
            ):
                return None
            case _ as never:
                assert_never(never)

    def token(self, delta: Delta, now: datetime) -> Step:
        """Text of an open answer. With `reset` it is all of it so far."""
        data: dict[str, Any] = {
            "content": delta.text,
            "answer_id": str(delta.answer_id),
            "reset": delta.reset,
        }
        if delta.kind == "thinking":
            return Step("thinking", self._step + 1, {**data, "partial": True}, now)
        return Step("token", self._step + 1, data, now)

    def _thinking(self, event: ev.ModelAnswered, recorded: Recorded) -> Step | None:
        self._step = event.step
        before_tools = event.answer.text if event.answer.tool_calls else ""
        thinking = "\n".join(filter(str.strip, (event.answer.thinking, before_tools)))
        return self._shown("thinking", {"content": thinking}, recorded) if thinking else None

    def _shown(self, name: str, data: dict[str, Any], recorded: Recorded) -> Step:
        return Step(name, self._step, data, recorded.recorded_at, recorded.offset)

    def _ended(self, status: str, message: str, recorded: Recorded) -> Ended:
        return Ended(status, message, recorded.recorded_at, recorded.offset, self._message_id)


def parsed(arguments: str) -> Any:
    """A tool's arguments as JSON where they are; the model's text where not."""
    try:
        return msgspec.json.decode(arguments)
    except msgspec.DecodeError:
        return arguments


def cut(message: str) -> str:
    """Errors have at most 200 characters."""
    return message if len(message) <= ERROR_CHARS_MAX else message[: ERROR_CHARS_MAX - 1] + "…"


def socket_frame(shown: Shown, task_id: str) -> dict[str, Any]:
    """The frame on `/portal/ws`."""
    match shown:
        case Routed():
            return {
                "type": "routing",
                "skill": shown.skill,
                "method": shown.method,
                "confidence": shown.confidence,
                "mode": shown.mode,
                "task_id": task_id,
                "offset": shown.offset,
            }
        case Step():
            data = {
                "event_type": f"turn.{shown.name}",
                "step": shown.step,
                "data": shown.data,
                "timestamp": shown.timestamp,
            }
            frame: dict[str, Any] = {"type": "step", "data": data, "task_id": task_id}
            return frame if shown.offset is None else {**frame, "offset": shown.offset}
        case Ended(status="completed"):
            done = {"message": shown.message, "timestamp": shown.timestamp, "task_id": task_id}
            return {"type": "result", "data": done, "offset": shown.offset}
        case Ended(status="cancelled"):
            done = {"status": "cancelled", "timestamp": shown.timestamp, "task_id": task_id}
            return {"type": "result", "data": done, "offset": shown.offset}
        case Ended():
            return {
                "type": "error",
                "data": {"message": shown.message, "task_id": task_id},
                "offset": shown.offset,
            }
        case _ as never:
            assert_never(never)
