"""A task's events as the portal's clients know them (wire contract, section 1).

One event of the log becomes at most one step, so that a client which resumes behind an offset misses nothing and sees
nothing twice.
"""

from datetime import datetime
from typing import Any, assert_never

import msgspec

from app.api.fallbacks import Attempts, Fallback
from app.core import events as ev
from app.core.envelope import Recorded
from app.core.steps import Stepping, step_of
from app.core.texts import Locale, text
from app.log.subscribe import Delta

ERROR_CHARS_MAX = 200


class Step(msgspec.Struct, frozen=True):
    """One step of a turn. `name` is `thinking`, `tool_call`, `tool_result`, `token`, `final_answer`, `step` (an
    interrupted answer), or one of `app.core.steps.NAMES`.

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
    """The end of a task: `completed` with the message, `failed` with one sentence, `cancelled`, or `steered`: another
    task, `merged_into`, answers its message. `fallback` where the last tier of the fallback chain answered."""

    status: str
    message: str
    timestamp: datetime
    offset: int
    message_id: str | None = None
    fallback: Fallback | None = None
    merged_into: str | None = None
    error_class: str | None = None


Shown = Step | Routed | Ended


class Turn:
    """Folds one task's events, in their order, into what clients see. Feed it from the task's first event on.

    `requested` is what the task was asked. An operation shows nothing but its result.
    """

    def __init__(self, locale: Locale) -> None:
        self._locale: Locale = locale
        self._step = 0
        self._message = ""
        self._message_id: str | None = None
        self._attempts = Attempts(locale)
        self.requested: ev.RunRequested | None = None

    @property
    def is_operation(self) -> bool:
        """Whether another task has started this one."""
        return self.requested is not None and self.requested.parent is not None

    def show(self, recorded: Recorded) -> Shown | None:
        """What this event is to a client; None where it shows nothing."""
        event = recorded.event()
        if not self.is_operation or recorded.type in ev.TERMINAL_TYPES:
            return self._show(event, recorded)
        return self._stepped(event, recorded) if isinstance(event, ev.OperationFinished) else None

    def _show(  # noqa: C901 (a case for each event)
        self, event: ev.Event | ev.UnknownEvent, recorded: Recorded
    ) -> Shown | None:
        match event:
            case ev.RunRequested():
                return self._requested(event, recorded)
            case ev.ModelCalled():
                self._attempts.note(event)
                return None
            case ev.ModelAnswered():
                self._attempts.note(event)
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
                if (fallback := self._attempts.fallback) is not None:
                    data |= msgspec.to_builtins(fallback)
                return self._shown("final_answer", data, recorded)
            case ev.MessageInterrupted():
                self._message, self._message_id = event.content, event.message_id
                return self._shown("step", {"kind": "interrupted", "content": event.content}, recorded)
            case ev.RunCompleted() | ev.RunFailed() | ev.RunCancelled() | ev.RunMerged():
                return self._ended(event, recorded)
            case (
                ev.HumanAsked()
                | ev.HumanAnswered()
                | ev.HumanUnanswered()
                | ev.ConfirmationRequested()
                | ev.ConfirmationAnswered()
                | ev.ConfirmationExpired()
                | ev.PhaseChanged()
                | ev.PhaseViolated()
                | ev.PlanDrafted()
                | ev.AttemptCritiqued()
                | ev.HistorySummarized()
                | ev.OperationStarted()
                | ev.OperationFinished()
                | ev.EffectUnknown()
                | ev.ModelAttemptFailed()
                | ev.InterventionHeard()
            ):
                return self._stepped(event, recorded)
            case (
                ev.LogOpened()
                | ev.ConversationCreated()
                | ev.ConversationDeleted()
                | ev.ConversationImported()
                | ev.MessageImported()
                | ev.MessageReceived()
                | ev.FileUploaded()
                | ev.RunClaimed()
                | ev.ModelFailed()
                | ev.RunCancelRequested()
                | ev.ConfirmationUsed()
                | ev.SessionOpened()
                | ev.SessionClosed()
                | ev.BoardStarted()
                | ev.ExpertSpoke()
                | ev.ExpertSilent()
                | ev.RoundSummarized()
                | ev.InterventionMinuted()
                | ev.BoardConcluded()
                | ev.TeamFormed()
                | ev.PlanUpdated()
                | ev.PhaseStarted()
                | ev.PhaseCompleted()
                | ev.PhaseFailed()
                | ev.Replanned()
                | ev.ContractDefined()
                | ev.NoticeGiven()
                | ev.ResultReviewed()
                | ev.RiskFlagged()
                | ev.TeamSynthesized()
                | ev.TeamDissolved()
                | ev.ChildStarted()
                | ev.ChildAwaited()
                | ev.ChildEnded()
                | ev.ChildAnswered()
                | ev.RunTold()
                | ev.SpeakerInterrupted()
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

    def _requested(self, event: ev.RunRequested, recorded: Recorded) -> Routed | None:
        self.requested = event
        if self.is_operation:
            return None
        skill = event.skill or event.agent
        return Routed(skill, event.method, event.confidence, event.mode, recorded.offset)

    def _stepped(self, event: Stepping, recorded: Recorded) -> Step:
        if isinstance(event, ev.ModelAttemptFailed):
            self._attempts.note(event)
        card = step_of(event)
        self._step = card.step or self._step
        return self._shown(card.name, card.data, recorded)

    def _thinking(self, event: ev.ModelAnswered, recorded: Recorded) -> Step | None:
        self._step = event.step
        # `direct_chat` takes the text for the answer, whatever the model asks for.
        acting = self.requested is None or self.requested.mode != "direct_chat"
        before_tools = event.answer.text if event.aside or (acting and event.answer.tool_calls) else ""
        thinking = "\n".join(filter(str.strip, (event.answer.thinking, before_tools)))
        return self._shown("thinking", {"content": thinking}, recorded) if thinking else None

    def _shown(self, name: str, data: dict[str, Any], recorded: Recorded) -> Step:
        return Step(name, self._step, data, recorded.recorded_at, recorded.offset)

    def _ended(
        self, event: ev.RunCompleted | ev.RunFailed | ev.RunCancelled | ev.RunMerged, recorded: Recorded
    ) -> Ended:
        at, offset, message_id = recorded.recorded_at, recorded.offset, self._message_id
        match event:
            case ev.RunCompleted():
                fallback = self._attempts.fallback
                return Ended("completed", self._message, at, offset, message_id, fallback)
            case ev.RunFailed(error_class=error_class):
                return Ended("failed", cut(event.message), at, offset, message_id, error_class=error_class)
            case ev.RunCancelled():
                return Ended("cancelled", text("cancelled", self._locale), at, offset, message_id)
            case ev.RunMerged():
                sentence = text("steered", self._locale)
                return Ended("steered", sentence, at, offset, merged_into=event.into)


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
            if shown.fallback is not None:
                done |= msgspec.to_builtins(shown.fallback)
            return {"type": "result", "data": done, "offset": shown.offset}
        case Ended(status="cancelled"):
            done = {"status": "cancelled", "timestamp": shown.timestamp, "task_id": task_id}
            return {"type": "result", "data": done, "offset": shown.offset}
        case Ended(status="steered"):
            done = {
                "status": "steered",
                "message": shown.message,
                "timestamp": shown.timestamp,
                "task_id": task_id,
                "merged_into": shown.merged_into,
            }
            return {"type": "result", "data": done, "offset": shown.offset}
        case Ended():
            return {
                "type": "error",
                "data": {"message": shown.message, "task_id": task_id},
                "offset": shown.offset,
            }
        case _ as never:
            assert_never(never)
