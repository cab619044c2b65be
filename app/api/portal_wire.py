"""A task's events as the portal's clients know them (wire contract, section 1).

Of what one event of the log shows only the last piece has its offset, so that a client which resumes behind an offset
misses nothing and sees nothing twice.
"""

from collections.abc import Container
from datetime import datetime
from typing import Any, assert_never

import msgspec

from app.api.fallbacks import Attempts
from app.api.meeting_wire import Meetings, acknowledged, meeting_frame, parsed
from app.api.shown import Ended, Meeting, Piece, Routed, Shown, Step, cut, last_with_offset
from app.core import events as ev
from app.core.envelope import Recorded
from app.core.steps import Stepping, step_of
from app.core.texts import Locale, text
from app.log.subscribe import Delta
from app.runs.operations import MODE as OPERATION

__all__ = ["Ended", "Meeting", "Routed", "Shown", "Step", "Turn", "cut", "socket_frame"]


class Turn:
    """Folds one task's events, in their order, into what clients see; those of a team's members too. Feed it from the
    task's first event on.

    `requested` is what the task was asked. An operation shows nothing but its result. `after` is the offset up to
    which the client has been told; `meetings` are the boards and teams that a message may be said to.
    """

    def __init__(self, locale: Locale, *, after: int = 0, meetings: Container[str] = ()) -> None:
        self._locale: Locale = locale
        self._step = 0
        self._message = ""
        self._message_id: str | None = None
        self._attempts = Attempts(locale)
        self._said_to = meetings
        self._held: Routed | None = None
        self.meeting = Meetings(after=after)
        self.requested: ev.RunRequested | None = None
        self._final = False

    @property
    def is_operation(self) -> bool:
        """Whether it is the work of a long-running tool."""
        return self.requested is not None and self.requested.mode == OPERATION

    @property
    def is_meeting(self) -> bool:
        """Whether it is a board or a team."""
        return self.meeting.is_open

    def show(self, recorded: Recorded) -> list[Shown]:
        """What this event is to a client, in this order; the last has its offset."""
        event = recorded.event()
        if self.meeting.concerns(recorded):
            shown = self.meeting.member(event, recorded)
        elif not self.is_operation or recorded.type in ev.TERMINAL_TYPES:
            shown = self._show(event, recorded)
        elif isinstance(event, ev.OperationFinished):
            self._message = event.content
            shown = self._stepped(event, recorded)
        else:
            shown = []
        return last_with_offset(shown, recorded.offset)

    def _show(  # noqa: C901 (a case for each event)
        self, event: ev.Event | ev.UnknownEvent, recorded: Recorded
    ) -> list[Shown]:
        """Each event type has its place here: what a turn does not show is in the last case."""
        if isinstance(event, ev.AdminEvent | ev.UserEvent | ev.UnknownEvent):
            return []
        if isinstance(event, ev.MeetingNote):
            self._step = event.step or self._step
            return self.meeting.note(event, recorded)
        match event:
            case ev.RunRequested():
                return self._requested(event, recorded)
            case ev.RunClaimed():
                held, self._held = self._held, None
                return [held] if held is not None else []
            case ev.ModelCalled():
                self._final = event.final
                self._attempts.note(event)
                self.meeting.call(event)
                return []
            case ev.ModelAnswered():
                self._attempts.note(event)
                self.meeting.close(recorded)
                return self._thinking(event, recorded)
            case ev.ModelFailed():
                self.meeting.close(recorded)
                return []
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
            case ev.ChildAnswered():  # a member's run that is followed by itself
                self._message = event.content
                return []
            case ev.RunCompleted() | ev.RunFailed() | ev.RunCancelled() | ev.RunMerged():
                return [self._ended(event, recorded)]
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
                | ev.SpeakerInterrupted()
            ):
                return self._stepped(event, recorded)
            case (
                ev.LogOpened()
                | ev.ConversationCreated()
                | ev.ConversationDeleted()
                | ev.ConversationImported()
                | ev.MessageImported()
                | ev.MessageReceived()
                | ev.MessageAdded()
                | ev.ConversationTitled()
                | ev.FileUploaded()
                | ev.RunCancelRequested()
                | ev.ConfirmationUsed()
                | ev.SessionOpened()
                | ev.SessionClosed()
                | ev.SessionMetadataSet()
                | ev.ChildStarted()
                | ev.ChildAwaited()
                | ev.ChildEnded()
                | ev.RunTold()
                | ev.LessonsGiven()
            ):
                return []
            case _ as never:
                assert_never(never)

    def token(self, delta: Delta, now: datetime) -> list[Piece]:
        """Live text of an open answer. With `reset` it is all of it so far."""
        if self.is_meeting:
            return self.meeting.chunk(delta, now)
        data: dict[str, Any] = {
            "content": delta.text,
            "answer_id": str(delta.answer_id),
            "reset": delta.reset,
        }
        if delta.kind == "thinking":
            return [Step("thinking", self._step + 1, {**data, "partial": True}, now)]
        return [Step("token", self._step + 1, data, now)]

    def _requested(self, event: ev.RunRequested, recorded: Recorded) -> list[Shown]:
        self.requested = event
        self.meeting.begin(event, recorded.task_id)
        if self.is_operation:
            return []
        skill = event.skill or event.agent
        at = recorded.recorded_at
        routed = Routed(skill, event.method, event.confidence, event.mode, recorded.offset, at)
        if event.steers is None or event.steers not in self._said_to:
            return [routed]
        self._held = routed  # it is routed only where the meeting ends without having heard it
        return [acknowledged(event, recorded)]

    def _stepped(self, event: Stepping, recorded: Recorded) -> list[Shown]:
        if isinstance(event, ev.ModelAttemptFailed):
            self._attempts.note(event)
        card = step_of(event)
        self._step = card.step or self._step
        return self._shown(card.name, card.data, recorded)

    def _thinking(self, event: ev.ModelAnswered, recorded: Recorded) -> list[Shown]:
        self._step = event.step
        if self.is_meeting:  # what its speakers say are notes; the rest is between the mode and the model
            return []
        # A final call's text is the answer, whatever the model asks for; older releases knew that of `direct_chat`.
        direct = self.requested is not None and self.requested.mode == "direct_chat"
        acting = not (self._final or direct)
        before_tools = event.answer.text if event.aside or (acting and event.answer.tool_calls) else ""
        thinking = "\n".join(filter(str.strip, (event.answer.thinking, before_tools)))
        return self._shown("thinking", {"content": thinking}, recorded) if thinking else []

    def _shown(self, name: str, data: dict[str, Any], recorded: Recorded) -> list[Shown]:
        return [Step(name, self._step, data, recorded.recorded_at)]

    def _ended(
        self, event: ev.RunCompleted | ev.RunFailed | ev.RunCancelled | ev.RunMerged, recorded: Recorded
    ) -> Ended:
        at, offset, message_id = recorded.recorded_at, recorded.offset, self._message_id
        if isinstance(event, ev.RunMerged):
            return Ended("steered", text("steered", self._locale), at, offset, merged_into=event.into)
        steps, tokens = event.steps, event.usage.total_tokens
        match event:
            case ev.RunCompleted():
                fallback, status, message = self._attempts.fallback, "completed", self._message
                return Ended(status, message, at, offset, message_id, fallback, steps=steps, tokens=tokens)
            case ev.RunFailed(error_class=error_class):
                status, message = "failed", cut(event.message)
                failed = Ended(status, message, at, offset, message_id, error_class=error_class)
                totals = {"steps": steps, "tokens": tokens}
                return msgspec.structs.replace(failed, **totals, quota_info=event.quota_info)
            case ev.RunCancelled():
                status, message = "cancelled", text("cancelled", self._locale)
                return Ended(status, message, at, offset, message_id, steps=steps, tokens=tokens)


def socket_frame(shown: Shown, task_id: str) -> dict[str, Any]:
    """The frame on `/portal/ws`."""
    match shown:
        case Routed():
            return {"type": "routing", **shown.data, "task_id": task_id, "offset": shown.offset}
        case Step():
            data = {
                "event_type": f"turn.{shown.name}",
                "step": shown.step,
                "data": shown.data,
                "timestamp": shown.timestamp,
            }
            frame: dict[str, Any] = {"type": "step", "data": data, "task_id": task_id}
            return frame if shown.offset is None else {**frame, "offset": shown.offset}
        case Meeting():
            frame = meeting_frame(shown, task_id)
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
                "data": {"message": shown.message, "task_id": task_id, **shown.told_of_quota},
                "offset": shown.offset,
            }
        case _ as never:
            assert_never(never)
