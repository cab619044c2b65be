"""A session's events as the frames of its socket (wire contract, section 2).

Text before a tool call is thinking, not answer, and a `token` that was sent must never turn out to be thinking. While
a model may still ask for a tool, nobody knows which of the two its text is. So:

    a call that can only be the answer (`final`)         its text goes out as `token` while it comes
    any other call                                       its text waits for what comes next in the log:
        a tool call, a note, another model call            `thinking`
        the answer                                         `token`, all of it at once

What is said in a board or a team is a frame of its own (`meeting_wire.py`), and what its model calls write is neither.
Then `final_answer`: the tokens since the last one with `reset` add up to its content. `drafts` adds the waiting text
as it comes, as `step` frames of event type `turn.draft`, for clients that show it as what it is.

A frame's `offset` says that everything up to there has been told: of the frames of one event only the last has it, so
that a client which reconnects behind an offset misses nothing.
"""

from collections import deque
from collections.abc import Container, Iterable
from datetime import UTC, datetime
from typing import Any, assert_never
from uuid import UUID

from app.api.meeting_wire import meeting_frame
from app.api.portal_wire import Turn
from app.api.shown import Ended, Meeting, Routed, Shown, Step
from app.core import events as ev
from app.core.envelope import Recorded
from app.core.steps import step_of
from app.core.texts import Locale
from app.log.subscribe import Delta
from app.runs.operations import MODE as OPERATION

Frame = dict[str, Any]
MEETINGS_MAX = 100

_OPEN_ENDS = (
    ev.MessageAnswered,
    ev.MessageInterrupted,
    ev.RunClaimed,
    ev.RunCancelRequested,
    ev.RunCompleted,
    ev.RunFailed,
    ev.RunCancelled,
    ev.RunMerged,
    ev.HumanAnswered,
    ev.HumanUnanswered,
    ev.ConfirmationAnswered,
    ev.ConfirmationExpired,
    ev.OperationFinished,
)
"""Events behind a model's text that leave open whether it is the answer, or say that it is."""

AS_FRAMES = frozenset(
    {
        "thinking",
        "final_answer",
        "ask_human",
        "confirmation_request",
        "confirmation_result",
        "phase_changed",
        "phase_violation",
    }
)
"""Steps that are frames of their own; the others come as `step`."""


class TaskFrames:
    """Folds one task's events into frames, those of a team's members too. Feed it from the task's first event on."""

    def __init__(
        self,
        task_id: UUID,
        locale: Locale,
        *,
        drafts: bool,
        after: int = 0,
        meetings: Container[str] = (),
    ) -> None:
        self.task_id = task_id
        self.turn = Turn(locale, after=after, meetings=meetings)
        self.claimed = False
        self.ended = False
        self.requests: dict[str, tuple[int, Frame]] = {}
        self._drafts = drafts
        self._final = False
        self._model_calls = 0
        self._history_until = 0
        self._waiting: list[str] = []
        self._said = ""
        self._answer_id: UUID | None = None

    def show(self, recorded: Recorded) -> list[Frame]:
        """The frames of this event, in their order; the last one carries the offset."""
        event = recorded.event()
        own = recorded.task_id == self.task_id
        frames = self._settled() if own and not isinstance(event, _OPEN_ENDS) else []
        self._note_request(event, recorded)
        if own:
            self._note(event, recorded)
        shown = self.turn.show(recorded)
        if isinstance(event, ev.MessageAnswered) and not self.turn.is_operation:
            frames += self._last_tokens(event.content)
        frames += [frame for one in shown if (frame := self._frame(one)) is not None]
        return [*frames[:-1], {**frames[-1], "offset": recorded.offset}] if frames else []

    def token(self, delta: Delta) -> list[Frame]:
        """Text of an open answer, as far as it is known to be the answer; of a meeting, what is being said."""
        if self.turn.is_operation:
            return []
        if self.turn.is_meeting:
            pieces = self.turn.token(delta, datetime.now(UTC))
            return [frame for piece in pieces if (frame := self._frame(piece)) is not None]
        if delta.kind == "text" and self._answers:
            self._said = delta.text if delta.reset else self._said + delta.text
            self._answer_id = delta.answer_id
            return [self._token(delta.text, reset=delta.reset)]
        if not self._drafts:
            return []
        drafts = self.turn.token(delta, datetime.now(UTC))
        return [
            self._step("draft", draft, {**draft.data, "kind": delta.kind})
            for draft in drafts
            if isinstance(draft, Step)
        ]

    @property
    def _answers(self) -> bool:
        """Whether the text of the open model call is the answer, whatever the model says: the call says so (`final`).

        Older releases did not record that. There it is so in `direct_chat`, which never looks at tool calls. Its first
        call may be one that sums up what was said before; not where the conversation is no longer than what a model is
        shown.
        """
        if self._final:
            return True
        requested = self.turn.requested
        if requested is None or requested.mode != "direct_chat":
            return False
        return self._model_calls > 1 or self._history_until <= requested.max_history

    def _note(self, event: ev.Event | ev.UnknownEvent, recorded: Recorded) -> None:
        match event:
            case ev.RunClaimed():
                self._history_until = self._history_until if self.claimed else event.history_until
                self.claimed = True
            case ev.ModelCalled():
                self._final = event.final
                self._model_calls += 1
                self._said, self._answer_id = "", None
            case ev.ModelAnswered() if not self.turn.is_meeting:
                self._answer_id = recorded.id
                is_answer = not event.aside and (self._answers or not event.answer.tool_calls)
                if is_answer and event.answer.text.strip():
                    self._waiting.append(event.answer.text)
            case _:
                pass

    def _note_request(self, event: ev.Event | ev.UnknownEvent, recorded: Recorded) -> None:
        """Questions and confirmations, a team's members' too."""
        match event:
            case ev.HumanAsked(request_id=request) | ev.ConfirmationRequested(confirmation_id=request):
                name = "ask_human" if isinstance(event, ev.HumanAsked) else "confirmation_request"
                frame = self._framed(name, step_of(event).data)
                self.requests[request] = recorded.offset, frame
            case ev.HumanAnswered(request_id=request) | ev.HumanUnanswered(request_id=request):
                self.requests.pop(request, None)
            case (
                ev.ConfirmationAnswered(confirmation_id=request)
                | ev.ConfirmationExpired(confirmation_id=request)
            ):
                self.requests.pop(request, None)
            case _:
                pass

    def _settled(self) -> list[Frame]:
        """What waited and was not the end: thinking, unless it was told as an answer while it came."""
        waiting, self._waiting = self._waiting, []
        if self._answers:
            return [token for text in waiting for token in self._rest(text)]
        return [self._framed("thinking", {"content": text}) for text in waiting]

    def _last_tokens(self, content: str) -> list[Frame]:
        waiting, self._waiting = self._waiting, []
        other = [text for text in waiting if text.strip() != content.strip() and not self._answers]
        return [*(self._framed("thinking", {"content": text}) for text in other), *self._rest(content)]

    def _rest(self, content: str) -> list[Frame]:
        """What the tokens still lack of an answer."""
        said, self._said = self._said, content
        if said.strip() == content.strip():
            return []
        if said and content.startswith(said):
            return [self._token(content[len(said) :], reset=False)]
        return [self._token(content, reset=True)]

    def _token(self, content: str, *, reset: bool) -> Frame:
        answer_id = str(self._answer_id) if self._answer_id is not None else None
        frame = {"type": "token", "content": content, "answer_id": answer_id, "reset": reset}
        return self._of_task(frame)

    def _frame(self, shown: Shown) -> Frame | None:
        match shown:
            case Routed():
                message_id = self.turn.requested.message_id if self.turn.requested else None
                return self._of_task({"type": "skill_match", "data": shown.data, "message_id": message_id})
            case Step(name=name) if name in AS_FRAMES:
                return self._framed(name, shown.data)
            case Step():
                return self._step(shown.name, shown, shown.data)
            case Meeting():
                return meeting_frame(shown, str(self.task_id))
            case Ended():
                self.ended = True
                return self._end(shown)
            case _ as never:
                assert_never(never)

    def _framed(self, name: str, data: dict[str, Any]) -> Frame:
        """A step that is a frame of its own."""
        match name:
            case "thinking":
                return self._of_task({"type": name, "content": data["content"]})
            case "final_answer":
                return self._of_task({"type": name, "is_final": True, **data})
            case "ask_human":
                return self._of_task({"type": name, **data})
            case _:
                return self._of_task({"type": name, "data": data})

    def _step(self, name: str, step: Step, data: dict[str, Any]) -> Frame:
        told = {
            "event_type": f"turn.{name}",
            "step": step.step,
            "data": data,
            "timestamp": step.timestamp,
        }
        return self._of_task({"type": "step", "data": told})

    def _end(self, ended: Ended) -> Frame | None:
        """`final_answer` was the end of what has completed."""
        self.requests.clear()
        if self.turn.is_operation or ended.status == "completed":
            return None
        told = {"timestamp": ended.timestamp, "task_id": str(self.task_id)}
        if ended.status == "failed":
            data = {"message": ended.message, "error_class": ended.error_class, **told, **ended.told_of_quota}
            return self._of_task({"type": "error", "data": data})
        data = {"status": ended.status, "message": ended.message, **told}
        if ended.merged_into is not None:
            data["merged_into"] = ended.merged_into
        return self._of_task({"type": "result", "data": data})

    def _of_task(self, frame: Frame) -> Frame:
        return {**frame, "task_id": str(self.task_id)}


class SessionFrames:
    """Folds the events of a session's stream into the frames of one socket: those behind offset `after`.

    Feed it from the first event of the oldest task that was open at `after`, or earlier. `meetings` are the last 100
    boards and teams that were seen, to which messages may be said.
    """

    def __init__(
        self, locale: Locale, *, after: int, drafts: bool = False, meetings: Iterable[str] = ()
    ) -> None:
        self.meetings = deque(meetings, MEETINGS_MAX)
        self._locale: Locale = locale
        self._after = after
        self._drafts = drafts
        self._open: dict[UUID, TaskFrames] = {}

    def show(self, recorded: Recorded) -> list[Frame]:
        """What this event is to the client; nothing where it has been told already."""
        if recorded.type == "session.closed":
            data: dict[str, Any] = {
                "event_type": "session.closed",
                "step": 0,
                "data": {},
                "timestamp": recorded.recorded_at,
            }
            frames: list[Frame] = [{"type": "step", "data": data, "offset": recorded.offset}]
        else:
            frames = self._of_task(recorded)
        return frames if recorded.offset > self._after else []

    def _of_task(self, recorded: Recorded) -> list[Frame]:
        task_id = recorded.task_id
        if task_id is None:
            return []
        task = self._open.get(task_id) or self._of_member(recorded)
        if task is None and recorded.type == "run.requested":
            task = self._begun(task_id, recorded)
        if task is None:  # it had ended before `after`, or its request comes next
            return []
        frames = task.show(recorded)
        if recorded.task_id == task.task_id and recorded.type == "run.requested" and task.turn.is_meeting:
            self.meetings.append(str(task.task_id))
        if task.ended:
            del self._open[task_id]
        return frames

    def _begun(self, task_id: UUID, recorded: Recorded) -> TaskFrames | None:
        event = recorded.event()
        if isinstance(event, ev.RunRequested) and event.parent is not None and event.mode != OPERATION:
            return None  # a member of a team that has ended
        self._open[task_id] = TaskFrames(
            task_id, self._locale, drafts=self._drafts, after=self._after, meetings=self.meetings
        )
        return self._open[task_id]

    def _of_member(self, recorded: Recorded) -> TaskFrames | None:
        """The team to whose members' runs the event belongs."""
        return next((task for task in self._open.values() if task.turn.meeting.concerns(recorded)), None)

    def token(self, delta: Delta) -> list[Frame]:
        told = (
            task
            for task in self._open.values()
            if task.task_id == delta.task_id or task.turn.meeting.has_member(delta.task_id)
        )
        return [frame for task in told for frame in task.token(delta)]

    def is_member(self, recorded: Recorded) -> bool:
        """Whether the event is of the run of an open team's member."""
        return self._of_member(recorded) is not None

    def open_requests(self) -> list[Frame]:
        """The open questions and confirmations that were told before `after`, to be shown again."""
        return [
            {**frame, "again": True}
            for task in self._open.values()
            for offset, frame in task.requests.values()
            if offset <= self._after
        ]

    def knows(self, task_id: UUID) -> bool:
        """Whether the task is open here."""
        return task_id in self._open

    def running(self) -> list[UUID]:
        """The open tasks that answer messages: those that a worker has first, then in the order of their requests."""
        own = [task for task in self._open.values() if not task.turn.is_operation]
        return [task.task_id for task in sorted(own, key=lambda task: not task.claimed)]
