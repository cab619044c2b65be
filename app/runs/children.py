"""Child runs: what a team's members work in. Each is a task of its own, with its own lease, and survives like any run.

A child is requested in the same append as the event that says so, and waits for nobody's turn. Its answer is the event
`run.child_answered`, appended with its terminal event. Whoever waits for it finds it in the log.
"""

import asyncio
from collections.abc import Iterable, Sequence
from uuid import UUID

import msgspec

from app.agents.modes import MODES
from app.core.envelope import NewEvent, Recorded
from app.core.events import (
    ChildAnswered,
    ChildEnded,
    ChildStarted,
    RunCancelled,
    RunCancelRequested,
    RunCompleted,
    RunFailed,
    RunLimits,
    RunRequested,
)
from app.core.ids import derived_id
from app.core.intents import AwaitRun, ChildSpec
from app.core.texts import text
from app.log.read import LogReader
from app.runs.ears import Ears
from app.runs.entry import Entry
from app.runs.ledger import Ledger, patiently
from app.runs.operations import Starts
from app.runs.record import RunRecord, intent_id, read_events
from app.runs.start import locale_of

BY_PARENT = "system"
PARENT_ENDED = "the task that started this one has ended"


class Children:
    """The child runs of one run, in the process that has the run."""

    def __init__(
        self, record: RunRecord, ledger: Ledger, entry: Entry, ears: Ears, starts: Starts, reader: LogReader
    ) -> None:
        self._record = record
        self._ledger = ledger
        self._entry = entry
        self._ears = ears
        self._starts = starts
        self._reader = reader

    def request(
        self, step: int, key: str, spec: ChildSpec, limits: RunLimits
    ) -> tuple[ChildStarted, NewEvent]:
        """The event that goes on record for this step, and the child's request that is appended with it."""
        child = derived_id(self._record.task_id, "child", step)
        parent = self._record.requested
        wanted = (
            parent.tools if spec.tools is None else [r for r in parent.tools if r.spec.name in spec.tools]
        )
        mode = MODES[spec.mode]
        requested = RunRequested(
            parent.message_id,
            spec.input,
            spec.agent,
            spec.mode,
            mode.version,
            method="child",
            model=spec.model or parent.model,
            system_prompt=spec.system_prompt,
            tools=tuple(wanted) if mode.uses_tools else (),
            limits=limits,
            max_history=0,
            locale=parent.locale,
            parent=str(self._record.task_id),
            expert_id=spec.expert_id,
            department_id=parent.department_id,
            charged_to=parent.charged_to,
            bound=parent.bound,
        )
        cause = intent_id(self._record.task_id, step)
        return ChildStarted(step, key, str(child), spec.expert_id), self._ledger.event(
            requested, derived_id(child, "requested"), cause, task_id=child
        )

    def spawn(self, child: str) -> None:
        """Set it going here; no-op where it goes on already or has ended."""
        self._starts.spawn(UUID(child), self._ledger.stream)

    async def wait(self, step: int, key: str, intent: AwaitRun, *, seconds: float) -> ChildEnded:
        """What came of the first of them that has ended; without one where a person has said something, and as
        `budget_exceeded` where none has ended within `seconds`: the parent needs the rest to conclude."""
        deadline = asyncio.get_running_loop().time() + seconds
        waiting = [UUID(child) for child in intent.children]
        for child in waiting:
            if (ended := await self._ended(step, key, child)) is not None:
                return ended
            self._starts.spawn(child, self._ledger.stream)
        while True:
            left_seconds = deadline - asyncio.get_running_loop().time()
            async with self._entry.slot.lent():
                await self._entry.until(
                    lambda: self._over(waiting) is not None or self._word(intent), seconds=left_seconds
                )
            over = self._over(waiting)
            if over is None and not self._word(intent):
                return ChildEnded(
                    step,
                    key,
                    "",
                    text("time_is_up", locale_of(self._record.requested.locale)),
                    "budget_exceeded",
                )
            if over is None:
                return ChildEnded(step, key)
            if (ended := await self._ended(step, key, over)) is not None:
                return ended
            waiting.remove(over)  # its request is not there: the conversation was deleted
            if not waiting:
                return ChildEnded(step, key, str(over), "", "missing")

    def left_open(self) -> list[NewEvent]:
        """Asks the children that nobody waited for to end with their parent."""
        ended = {one.child for one in self._record.outcomes.values() if isinstance(one, ChildEnded)}
        started = [note for note in self._record.notes.values() if isinstance(note, ChildStarted)]
        return [
            self._ledger.event(
                RunCancelRequested(BY_PARENT, PARENT_ENDED),
                derived_id(UUID(note.child), "parent ended"),
                task_id=UUID(note.child),
            )
            for note in started
            if note.child not in ended
        ]

    def _over(self, waiting: Sequence[UUID]) -> UUID | None:
        return next((child for child in waiting if child in self._entry.ended), None)

    def _word(self, intent: AwaitRun) -> bool:
        return intent.or_word and self._ears.has_word

    async def _ended(self, step: int, key: str, child: UUID) -> ChildEnded | None:
        events = await patiently(lambda: read_events(self._reader, self._ledger.stream, child))
        result = result_of(events, child)
        return result and msgspec.structs.replace(result, step=step, key=key)


def result_of(events: Iterable[Recorded], child: UUID) -> ChildEnded | None:
    """What a child run came to; None while it goes on."""
    content = ""
    for recorded in events:
        if recorded.task_id != child:
            continue
        match event := recorded.event():
            case ChildAnswered():
                content = event.content
            case RunCompleted():
                return ChildEnded(0, "", str(child), content, None, event.usage.total_tokens, event.cost_usd)
            case RunFailed():
                failed = event.error_class, event.usage.total_tokens, event.cost_usd
                return ChildEnded(0, "", str(child), event.message, *failed)
            case RunCancelled():
                tokens = event.usage.total_tokens
                return ChildEnded(0, "", str(child), event.reason, "cancelled", tokens, event.cost_usd)
            case _:
                pass
    return None
