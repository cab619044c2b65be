"""What clients have seen, held against the log: every frame once, in its place, and the texts as they are recorded.

What an event shows is said here anew, and not taken from the code that is under test.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import msgspec

from app.bench.load_plan import Live, Talk, Told
from app.core.envelope import Recorded
from app.core.events import MessageAnswered, MessageReceived, ModelAnswered

EXAMPLES_MAX = 10
_FRAMES = {
    "run.requested": "routing",
    "tool.called": "turn.tool_call",
    "tool.returned": "turn.tool_result",
    "message.answered": "turn.final_answer",
    "run.completed": "result",
    "run.failed": "error",
    "run.cancelled": "result",
}


class Found(msgspec.Struct):
    """`frames` are those that were due and came exactly once; `disordered` came behind a later one; `wrong` are texts
    and answers that are not those of the log, and frames that nothing in the log shows."""

    frames: int = 0
    live_frames: int = 0
    lost: int = 0
    doubled: int = 0
    disordered: int = 0
    wrong: int = 0
    examples: list[str] = []

    @property
    def faults(self) -> int:
        return self.lost + self.doubled + self.disordered + self.wrong

    def fault(self, example: str) -> None:
        if len(self.examples) < EXAMPLES_MAX:
            self.examples.append(example)


def check(found: Found, talk: Talk, events: Sequence[Recorded]) -> None:
    """Add what is found of one conversation, whose events these are."""
    name = f"{talk.user_id}/{talk.conversation_id}"
    _check_frames(found, name, talk.told, events)
    _check_live(found, name, talk.live, events)
    _check_answers(found, name, talk, events)
    found.live_frames += talk.live_frames
    for trouble in talk.troubles:
        found.wrong += 1
        found.fault(f"{name}: {trouble}")


def due_of(recorded: Recorded) -> Told | None:
    """The frame that has to tell of an event; None: none."""
    kind = _FRAMES.get(recorded.type)
    event = recorded.event() if recorded.type == "model.answered" else None
    if isinstance(event, ModelAnswered):
        before_tools = event.answer.text if event.answer.tool_calls else ""
        kind = "turn.thinking" if event.answer.thinking or before_tools else None
    return None if kind is None else Told(recorded.offset, kind, str(recorded.task_id))


def _check_frames(found: Found, name: str, told: Sequence[Told], events: Sequence[Recorded]) -> None:
    due = {one for recorded in events if (one := due_of(recorded)) is not None}
    came = Counter(told)
    for one, times in came.items():
        if one not in due:
            found.wrong += 1
            found.fault(f"{name}: {one} is not in the log")
        elif times > 1:
            found.doubled += times - 1
            found.fault(f"{name}: {one} came {times} times")
        else:
            found.frames += 1
    for one in sorted(due - came.keys(), key=lambda one: one.offset):
        found.lost += 1
        found.fault(f"{name}: {one} did not come")
    for before, one in pairwise(told):
        if one.offset < before.offset:
            found.disordered += 1
            found.fault(f"{name}: {one} came behind {before}")


def _check_live(found: Found, name: str, live: dict[str, Live], events: Sequence[Recorded]) -> None:
    """Live text ends where its event is near, so it is the beginning of the recorded text: none lost, none doubled."""
    closing = {str(recorded.id): recorded for recorded in events if recorded.type == "model.answered"}
    for answer_id, held in live.items():
        event = closing[answer_id].event() if answer_id in closing else None
        if not isinstance(event, ModelAnswered):
            found.wrong += 1
            found.fault(f"{name}: live text of {answer_id}, which the log does not have")
        elif not (
            event.answer.text.startswith(held.text) and event.answer.thinking.startswith(held.thinking)
        ):
            found.wrong += 1
            found.fault(f"{name}: live text {held} of {event.answer.text!r}, {event.answer.thinking!r}")


def _check_answers(found: Found, name: str, talk: Talk, events: Sequence[Recorded]) -> None:
    """Each message stands in the log once, and its result is the answer there, which is one to that message."""
    received = [event.content for one in events if isinstance(event := one.event(), MessageReceived)]
    answers = {
        str(one.task_id): event.content for one in events if isinstance(event := one.event(), MessageAnswered)
    }
    for said in talk.said:
        answer = said.answer
        right = answer is not None and answers.get(said.task_id) == answer and said.content in answer
        if not right or received.count(said.content) != 1:
            found.wrong += 1
            found.fault(f"{name}: {said.content!r} was answered with {answer!r}")
