"""Fold of a conversation's events, in their order, into its minutes. Pure; the same at every time."""

from typing import Any, cast

import msgspec

from app.core import events as ev
from app.core import minutes as doc
from app.core.envelope import Recorded
from app.core.meeting_events import BOARD_MODE, MEETING_MODES, TEAM_MODE
from app.core.messages import Usage
from app.core.minutes_meetings import add_board, add_team, attendees, called
from app.core.titles import Title, title_of

SKIPPED = frozenset(
    {
        "run.claimed",
        "run.child_awaited",
        "run.child_ended",
        "run.child_answered",
        "run.child_started",
        "run.told",
        "run.cancel_requested",
        "confirmation.used",
        "history.summarized",
    }
)
"""Types that are frequent and say nothing here; they are not decoded."""
OF_TURNS = ev.TERMINAL_TYPES | {"message.answered", "message.interrupted", "run.intervention_heard"}


class MinutesFold:
    """`minutes` may be asked for at any time. A deletion forgets what was before it."""

    def __init__(self, conversation_id: str) -> None:
        self._conversation_id = conversation_id
        self._head = 0
        self._forget()

    def _forget(self) -> None:
        self._title: Title | None = None
        self._given_title = ""
        self._items: list[doc.Item] = []
        self._turns: dict[str, doc.Turn] = {}
        self._received: dict[str, tuple[Recorded, ev.MessageReceived]] = {}
        self._members: dict[str, tuple[str, str]] = {}
        self._speakers: dict[tuple[str, int], str] = {}
        self._calls: dict[tuple[str, int], doc.ToolUse] = {}
        self._asked: dict[str, doc.Question | doc.Consent] = {}
        self._alive = False

    def minutes(self, task_id: str | None = None) -> doc.Minutes | None:
        """Of the whole conversation, or of what this task belongs to. None: there is no such conversation or task."""
        items: list[doc.Item] = self._items
        if task_id is not None:
            turn = self._turns.get(self._members.get(task_id, (task_id, ""))[0])
            items = [] if turn is None else [turn]
        if not self._alive or (task_id is not None and not items):
            return None
        title = self._title or Title("", False)
        return doc.Minutes(
            conversation_id=self._conversation_id,
            title=self._given_title or title.text,
            is_board=title.is_board,
            offset=self._head,
            items=items,
        )

    def add(self, recorded: Recorded) -> None:
        """The next event of the stream."""
        self._head = recorded.offset
        if recorded.type in SKIPPED:
            return
        event, task_id = recorded.event(), str(recorded.task_id)
        self._alive = not isinstance(event, ev.ConversationDeleted)
        match event:
            case ev.ConversationDeleted():
                self._forget()
            case ev.MessageImported(message=message) | ev.MessageAdded(message=message):
                self._imported(recorded, msgspec.json.decode(message))
            case ev.ConversationTitled(title=given):
                self._given_title = given
            case ev.MessageReceived() if recorded.task_id is not None:
                self._title = self._title or title_of(event.content)
                self._received[task_id] = recorded, event
            case ev.RunRequested() if recorded.task_id is not None:
                self._requested(recorded, task_id, event)
            case _ if recorded.task_id is not None:
                parent, _ = self._members.get(task_id, (task_id, ""))
                if (turn := self._turns.get(parent)) is not None:
                    self._of_turn(recorded, task_id, turn, event)
            case _:
                pass

    def _imported(self, recorded: Recorded, message: dict[str, Any]) -> None:
        role, content = str(message.get("role", "")), _text_of(message.get("content"))
        if role == "user":
            self._title = self._title or title_of(content)
        if role in ("user", "assistant") and content:
            self._items.append(
                doc.Imported(offset=recorded.offset, at=recorded.recorded_at, role=role, content=content)
            )

    def _requested(self, recorded: Recorded, task_id: str, event: ev.RunRequested) -> None:
        if event.parent is not None:
            parent = event.parent
            root, _ = self._members.get(parent, (parent, ""))
            self._members[task_id] = root, event.expert_id
            return
        first, said = self._received.pop(task_id, (recorded, None))
        meeting = event.mode in MEETING_MODES
        fields: dict[str, Any] = {
            "offset": first.offset,
            "at": first.recorded_at,
            "task_id": task_id,
            "by": first.actor,
            "question": event.input if meeting or said is None else said.content,
            "agent": event.agent,
            "mode": event.mode,
            "skill": event.skill,
            "used": _budget(recorded.offset, event.limits),
        }
        turn: doc.Turn
        if event.mode == BOARD_MODE:
            present = attendees(recorded, event.experts, "moderator", "expert")
            turn = doc.Board(**fields, max_rounds=event.rounds, present=present)
        elif event.mode == TEAM_MODE:
            turn = doc.Team(**fields, present=attendees(recorded, event.experts, "lead", "member"))
        else:
            turn = doc.Turn(**fields)
        self._turns[task_id] = turn
        self._items.append(turn)

    def _of_turn(
        self, recorded: Recorded, task_id: str, turn: doc.Turn, event: ev.Event | ev.UnknownEvent
    ) -> None:
        match event:
            case ev.ModelCalled(speaker=speaker):
                self._speakers[task_id, event.step] = speaker or self._members.get(task_id, ("", ""))[1]
            case ev.ModelAnswered():
                self._use(recorded, task_id, turn, event.step, event.answer.usage, event.cost_usd, calls=1)
            case ev.ModelFailed():
                self._use(recorded, task_id, turn, event.step, Usage(), None, calls=1)
                if event.error_class == "interrupted" and turn.interruptions:
                    speaker = self._speakers.get((task_id, event.step), "")
                    turn.interruptions[-1].name = called(turn, speaker)
            case ev.ModelAttemptFailed():
                self._use(recorded, task_id, turn, event.step, event.usage, event.cost_usd)
            case _ if task_id in self._members and recorded.type in OF_TURNS:
                pass  # a member's own end is told by the phase
            case _ if recorded.type in OF_TURNS:
                self._said(recorded, task_id, turn, event)
            case _:
                self._of_work(recorded, task_id, turn, event)

    def _said(
        self, recorded: Recorded, task_id: str, turn: doc.Turn, event: ev.Event | ev.UnknownEvent
    ) -> None:
        """What answers and ends a turn, and what people add to it."""
        at: dict[str, Any] = {"offset": recorded.offset, "at": recorded.recorded_at}
        match event:
            case ev.MessageAnswered(content=content):
                turn.answer = doc.Answer(**at, content=content)
            case ev.MessageInterrupted(content=content):
                turn.answer = doc.Answer(**at, content=content, whole=False)
            case ev.InterventionHeard(messages=messages):
                for message in messages:
                    self._heard(recorded, turn, message)
            case ev.RunMerged():
                self._items = [item for item in self._items if item is not turn]
                del self._turns[task_id]
            case ev.RunCompleted() | ev.RunFailed() | ev.RunCancelled():
                _end(recorded, turn, event)
            case _:
                pass

    def _of_work(
        self, recorded: Recorded, task_id: str, turn: doc.Turn, event: ev.Event | ev.UnknownEvent
    ) -> None:
        """Past experience, tools, and what was asked of people."""
        at: dict[str, Any] = {"offset": recorded.offset, "at": recorded.recorded_at}
        match event:
            case ev.LessonsGiven(experiences=found, problem=problem):
                turn.experience = doc.Experience(**at, task_ids=found, problem=problem)
            case ev.ToolCalled():
                by = called(turn, self._members[task_id][1]) if task_id in self._members else ""
                use = doc.ToolUse(**at, name=event.name, arguments=event.arguments, by=by)
                self._calls[task_id, event.step] = use
                turn.tools.append(use)
            case ev.ToolReturned() if (use := self._calls.get((task_id, event.step))) is not None:
                use.result, use.error_class, use.result_offset = (
                    event.content,
                    event.error_class,
                    recorded.offset,
                )
            case ev.HumanAsked():
                asked = doc.Question(**at, question=event.question)
                self._asked[event.request_id] = asked
                turn.questions.append(asked)
            case ev.ConfirmationRequested():
                consent = doc.Consent(**at, tool=event.tool, command=event.command, reason=event.reason)
                self._asked[event.confirmation_id] = consent
                turn.confirmations.append(consent)
            case (
                ev.HumanAnswered()
                | ev.HumanUnanswered()
                | ev.ConfirmationAnswered()
                | ev.ConfirmationExpired()
            ):
                self._replied(recorded, event)
            case ev.SpeakerInterrupted(by=by):
                turn.interruptions.append(doc.Interruption(**at, by=by))
            case _ if isinstance(turn, doc.Board):
                add_board(turn, recorded, event)
            case _ if isinstance(turn, doc.Team):
                add_team(turn, recorded, event)
            case _:
                pass

    def _replied(
        self,
        recorded: Recorded,
        event: ev.HumanAnswered | ev.HumanUnanswered | ev.ConfirmationAnswered | ev.ConfirmationExpired,
    ) -> None:
        request = (
            event.request_id
            if isinstance(event, ev.HumanAnswered | ev.HumanUnanswered)
            else event.confirmation_id
        )
        match event, self._asked.get(request):
            case ev.HumanAnswered(content=content, by=by), doc.Question() as asked:
                asked.outcome, asked.answer, asked.by = "answered", content, by
            case ev.HumanUnanswered(), doc.Question() as asked:
                asked.outcome = "unanswered"
            case ev.ConfirmationAnswered(approved=approved, by=by), doc.Consent() as asked:
                asked.outcome, asked.by = "approved" if approved else "refused", by
            case ev.ConfirmationExpired(), doc.Consent() as asked:
                asked.outcome = "expired"
            case _:
                return
        asked.reply_offset = recorded.offset

    def _heard(self, recorded: Recorded, turn: doc.Turn, message: ev.Intervention) -> None:
        """The message of a task that ends with it. What a team's lead says to a member has no task."""
        if not message.task_id:
            return
        said = self._turns.get(message.task_id)
        offset, at, by = (
            (said.offset, said.at, said.by) if said else (recorded.offset, recorded.recorded_at, "")
        )
        turn.interventions.append(
            doc.Word(offset=offset, at=at, by=by, content=message.content, heard_offset=recorded.offset)
        )

    def _use(
        self,
        recorded: Recorded,
        task_id: str,
        turn: doc.Turn,
        step: int,
        usage: Usage,
        cost_usd: float | None,
        *,
        calls: int = 0,
    ) -> None:
        used = turn.used
        used.offset = recorded.offset
        used.calls += calls
        used.prompt_tokens += usage.prompt_tokens
        used.completion_tokens += usage.completion_tokens
        used.tokens += usage.total_tokens
        used.cost_usd = _sum(used.cost_usd, cost_usd)
        speaker = self._speakers.get((task_id, step), "")
        if not speaker:
            return
        by = next((one for one in used.by_speaker if one.expert_id == speaker), None)
        if by is None:
            by = doc.SpeakerUse(expert_id=speaker, name=called(turn, speaker), offset=recorded.offset)
            used.by_speaker.append(by)
        by.offset, by.calls, by.tokens = recorded.offset, by.calls + calls, by.tokens + usage.total_tokens
        by.cost_usd = _sum(by.cost_usd, cost_usd)


def _budget(offset: int, limits: ev.RunLimits) -> doc.Used:
    return doc.Used(
        offset=offset,
        tokens_max=limits.tokens_max,
        cost_usd_max=limits.cost_usd_max,
        timeout_seconds=limits.timeout_seconds,
    )


def _end(recorded: Recorded, turn: doc.Turn, event: ev.RunCompleted | ev.RunFailed | ev.RunCancelled) -> None:
    at: dict[str, Any] = {"offset": recorded.offset, "at": recorded.recorded_at}
    turn.used.duration_ms, turn.used.offset = event.duration_ms, recorded.offset
    match event:
        case ev.RunCompleted():
            turn.ended = doc.Ended(**at, status="completed")
        case ev.RunFailed():
            turn.ended = doc.Ended(
                **at, status="failed", error_class=event.error_class, message=event.message
            )
        case ev.RunCancelled():
            turn.ended = doc.Ended(**at, status="cancelled", message=event.reason, by=event.by)


def _sum(one: float | None, other: float | None) -> float | None:
    return one if other is None else (one or 0.0) + other


def _text_of(content: object) -> str:
    """Of a message in the OpenAI shape: text, or parts of which some are."""
    match content:
        case str():
            return content
        case list():
            parts = cast("list[dict[str, Any]]", [part for part in content if isinstance(part, dict)])  # pyright: ignore[reportUnknownVariableType]
            return "\n".join(part["text"] for part in parts if isinstance(part.get("text"), str))
        case _:
            return ""
