"""A board's and a team's events as frames of their own (wire contract, section 4), for both sockets and SSE alike.

The events and live texts of a team's members (child runs) belong to the team's turn:

    thinking, tool calls, and whatever else they do    `expert_step`
    live text of a member                              `expert_result_chunk`
    it was no answer, or is begun anew                 `expert_result_chunk_reset`
    what the member came to                            `expert_result`
    questions and confirmations                        as those of any task, with the expert's name
"""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from app.api.shown import Meeting, Piece, Shown, Step
from app.core import events as ev
from app.core.envelope import Recorded
from app.core.meeting_cards import (
    Cast,
    Expert,
    cast_of,
    expert_of,
    meeting_card,
    of_expert,
)
from app.core.meeting_events import MEETING_MODES
from app.core.steps import StepCard, Stepping, step_of
from app.log.subscribe import Delta
from app.runs.operations import MODE as OPERATION
from app.runs.record import outcome_id

FRAMES = frozenset(
    {
        "board_started",
        "expert_speech_chunk",
        "expert_speech",
        "round_summary",
        "user_intervention",
        "board_concluded",
        "team_formed",
        "plan_update",
        "plan_step",
        "phase_started",
        "phase_completed",
        "phase_failed",
        "replanning",
        "expert_step",
        "expert_result_chunk",
        "expert_result_chunk_reset",
        "expert_result",
        "collaboration_contract_defined",
        "collaboration_notice",
        "review_result",
        "risk_flagged",
        "team_synthesis_chunk",
        "team_synthesis",
        "team_dissolved",
        "team_intervention_ack",
    }
)
"""Cards that are frames of their own; the others come as `step`."""

CHUNKS = {"speech": "expert_speech_chunk", "synthesis": "team_synthesis_chunk"}
"""Live text that is shown, by the purpose of its model call. Plans, reviews and conclusions are no prose."""

FOR_PEOPLE = (
    ev.HumanAsked,
    ev.HumanAnswered,
    ev.HumanUnanswered,
    ev.ConfirmationRequested,
    ev.ConfirmationAnswered,
    ev.ConfirmationExpired,
    ev.OperationStarted,
    ev.OperationFinished,
)
"""Steps of a member that clients have to know as what they are."""


class Member:
    """Folds the run of one member. `seen` is the offset up to which the client has been told."""

    def __init__(self, task_id: UUID, expert: Expert, mode: str, *, seen: int) -> None:
        self.step = 0
        self._child = str(task_id)
        self._by = of_expert((expert,), expert.id)
        self._mode = mode
        self._seen = seen
        self._told = False
        self._draft = ""

    def show(self, event: ev.Event | ev.UnknownEvent, at: Recorded) -> list[Shown]:
        match event:
            case ev.ModelCalled():
                shown = self._no_answer(at, self._draft)
                self._told = at.offset <= self._seen  # of what came since then the client may have had parts
                return shown
            case ev.ModelAnswered(answer=answer):
                self.step = event.step
                is_draft = not event.aside and (self._mode == "direct_chat" or not answer.tool_calls)
                if is_draft:
                    self._draft = answer.text
                    return self._stepped("thinking", answer.thinking, {}, at) if answer.thinking else []
                return self._no_answer(at, answer.thinking, answer.text)
            case ev.ToolCalled() | ev.ToolReturned():
                return [*self._no_answer(at, self._draft), *self._of_tool(event, at)]
            case ev.ChildAnswered():
                self._told, self._draft = False, ""
                data = {**self._by, "content": event.content, "child": self._child}
                return [Meeting("expert_result", data, at.recorded_at)]
            case ev.ModelFailed() | ev.RunFailed() | ev.RunCancelled():
                return self._no_answer(at)
            case _ if isinstance(event, Stepping):
                return self._other(event, at)
            case _:
                return []

    def chunk(self, delta: Delta, now: datetime) -> list[Piece]:
        """Live text. Where all of it comes anew, what the client has of it is no more."""
        if delta.kind != "text":
            return []
        shown = self._reset(now) if delta.reset else []
        if not delta.text:
            return shown
        self._told = True
        data = {**self._by, "content": delta.text, "reset": delta.reset, "child": self._child}
        return [*shown, Meeting("expert_result_chunk", data, now)]

    def _no_answer(self, at: Recorded, *texts: str) -> list[Shown]:
        """What was told is no answer; these texts are thinking."""
        thinking = "\n".join(filter(str.strip, texts))
        self._draft = ""
        shown: list[Shown] = [*self._reset(at.recorded_at)]
        return [*shown, *self._stepped("thinking", thinking, {}, at)] if thinking else shown

    def _reset(self, now: datetime) -> list[Piece]:
        told, self._told = self._told, False
        data = {**self._by, "child": self._child}
        return [Meeting("expert_result_chunk_reset", data, now)] if told else []

    def _of_tool(self, event: ev.ToolCalled | ev.ToolReturned, at: Recorded) -> list[Shown]:
        self.step = event.step
        data: dict[str, Any] = {"call_id": event.call_id, "name": event.name}
        if isinstance(event, ev.ToolCalled):
            data["arguments"] = parsed(event.arguments)
            return self._stepped("tool_call", f"{event.name}({event.arguments})", data, at)
        data["content"] = event.content
        if event.error_class:
            data["error"] = event.error_class
        return self._stepped("tool_result", event.content, data, at)

    def _other(self, event: Stepping, at: Recorded) -> list[Shown]:
        card = step_of(event)
        self.step = card.step or self.step
        data = {**card.data, **self._by, "child": self._child}
        if isinstance(event, FOR_PEOPLE):
            return [Step(card.name, self.step, data, at.recorded_at)]
        return self._stepped(card.name, _said_in(card), card.data, at)

    def _stepped(self, kind: str, content: str, data: dict[str, Any], at: Recorded) -> list[Shown]:
        told = {**self._by, "content": content, "step": self.step, "kind": kind, "data": data}
        return [Meeting("expert_step", {**told, "child": self._child}, at.recorded_at)]


class Meetings:
    """Folds the events of a board or team, those of its members' runs among them. Feed it in the log's order.

    `after` is the offset up to which the client has been told.
    """

    def __init__(self, *, after: int = 0) -> None:
        self.task_id: UUID | None = None
        self.is_open = False
        self._after = after
        self._cast: Cast = ()
        self._calls: dict[UUID, ev.ModelCalled] = {}
        self._members: dict[UUID, Member] = {}
        self._phases: dict[str, ev.TeamPhase] = {}

    def begin(self, requested: ev.RunRequested, task_id: UUID | None) -> None:
        """The turn's own request."""
        self.task_id = task_id
        self.is_open = requested.mode in MEETING_MODES
        self._cast = cast_of(requested.experts)

    def concerns(self, recorded: Recorded) -> bool:
        """Whether the event is of a member's run."""
        if recorded.task_id in self._members:
            return True
        if not self.is_open or recorded.type != "run.requested":
            return False
        event = recorded.event()
        if not isinstance(event, ev.RunRequested) or event.mode == OPERATION:
            return False
        return event.parent == str(self.task_id)

    def has_member(self, task_id: UUID | None) -> bool:
        """Whether it is the run of a member."""
        return task_id in self._members

    def member(self, event: ev.Event | ev.UnknownEvent, recorded: Recorded) -> list[Shown]:
        """What an event of a member's run is to the client."""
        task_id = recorded.task_id
        if task_id is None:
            return []
        if isinstance(event, ev.RunRequested):
            expert = expert_of(self._cast, event.expert_id or event.agent)
            self._members[task_id] = Member(task_id, expert, event.mode, seen=self._after)
            return []
        return self._members[task_id].show(event, recorded)

    def note(self, event: ev.MeetingNote, recorded: Recorded) -> list[Shown]:
        """A note of the meeting itself. A change of a phase also comes as `plan_step`."""
        if isinstance(event, ev.BoardStarted | ev.TeamFormed):
            self._cast = cast_of(event.experts)
        card = meeting_card(event, self._cast, str(recorded.task_id))
        if card.name not in FRAMES:
            return [Step(card.name, card.step, card.data, recorded.recorded_at)]
        told = Meeting(card.name, card.data, recorded.recorded_at)
        return [*self._plan_step(event, recorded), told]

    def call(self, event: ev.ModelCalled) -> None:
        """A model call of the meeting itself: its live text has a speaker and a purpose."""
        if self.is_open and self.task_id is not None:
            self._calls[outcome_id(self.task_id, event.step)] = event

    def close(self, recorded: Recorded) -> None:
        """A model call of the meeting itself is over."""
        self._calls.pop(recorded.id, None)

    def chunk(self, delta: Delta, now: datetime) -> list[Piece]:
        """Live text of the meeting or of a member."""
        if delta.task_id is not None and (member := self._members.get(delta.task_id)) is not None:
            return member.chunk(delta, now)
        called = self._calls.get(delta.answer_id)
        # An aside comes as thinking, whatever it is.
        if called is None or called.purpose not in CHUNKS or (delta.kind != "text" and not called.aside):
            return []
        said = {"content": delta.text, "round": called.round, "reset": delta.reset}
        data = {**of_expert(self._cast, called.speaker), **said}
        return [Meeting(CHUNKS[called.purpose], data, now)]

    def _plan_step(self, event: ev.MeetingNote, recorded: Recorded) -> list[Shown]:
        match event:
            case ev.PlanUpdated(phases=phases):
                self._phases = {phase.id: phase for phase in phases}
                return []
            case ev.PhaseStarted():
                status, more = "running", {"attempt": event.attempt, "child": event.child}
            case ev.PhaseCompleted():
                status, more = "completed", {}
            case ev.PhaseFailed():
                status, more = "failed", {"error_class": event.error_class}
            case _:
                return []
        known = self._phases.get(event.phase_id) or ev.TeamPhase(
            event.phase_id, event.name, "", event.expert_id
        )
        phase = msgspec.structs.replace(known, owner=event.expert_id, status=status)
        self._phases[event.phase_id] = phase
        data = {
            "phase_id": phase.id,
            "name": phase.name,
            "task": phase.task,
            "depends_on": list(phase.depends_on),
            "status": phase.status,
            **of_expert(self._cast, phase.owner),
            **more,
        }
        return [Meeting("plan_step", data, recorded.recorded_at)]


def meeting_frame(shown: Meeting, task_id: str) -> dict[str, Any]:
    """The frame on both sockets, without its offset."""
    of = shown.task_id or task_id
    return {"type": shown.name, "data": shown.data, "timestamp": shown.timestamp, "task_id": of}


def acknowledged(event: ev.RunRequested, at: Recorded) -> Meeting:
    """A message has been taken as a word to a board or team."""
    data = {"content": event.input, "message_id": event.message_id}
    return Meeting("team_intervention_ack", data, at.recorded_at, at.offset, str(at.task_id))


def parsed(arguments: str) -> Any:
    """A tool's arguments as JSON where they are; the model's text where not."""
    try:
        return msgspec.json.decode(arguments)
    except msgspec.DecodeError:
        return arguments


def _said_in(card: StepCard) -> str:
    """A step in one line."""
    told = next(
        (str(card.data[key]) for key in ("content", "critique", "message", "phase") if card.data.get(key)), ""
    )
    return f"{card.name}: {told}" if told else card.name
