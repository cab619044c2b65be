"""Driving a mode's generator: against the recorded outcomes first, then on, each step an event before and behind it.

    intents of a tuple ──► one append ──► carried out at once ──► an append for each outcome ──► sent into the generator

There is no checkpoint. Whoever has the lease runs the generator again on what the log holds and goes on from there.
"""

import asyncio
from datetime import datetime
from typing import assert_never
from uuid import UUID

import msgspec

from app.core.envelope import NewEvent, agent_actor
from app.core.events import (
    Event,
    MessageAnswered,
    MessageInterrupted,
    ModelAnswered,
    ModelCalled,
    ModelFailed,
    RunCancelled,
    RunCompleted,
    RunFailed,
    ToolCalled,
    ToolReturned,
)
from app.core.ids import derived_id
from app.core.intents import (
    CallModel,
    CallTool,
    Intent,
    Listen,
    Mode,
    Outcome,
    RunAborted,
    TakeMinute,
    intent_key,
)
from app.core.messages import Usage
from app.core.texts import Locale, text
from app.log.errors import PayloadTooLarge
from app.runs.effects import Effects, Numbered, effect_unknown
from app.runs.ledger import Ledger
from app.runs.record import Called, Closed, RunRecord, Stop, intent_id, outcome_id, outcome_of

INTENTS_AT_ONCE_MAX = 200
CALL_ENDED = "This call was ended before it had a result."


class Answered(msgspec.Struct, frozen=True):
    """The mode came to its end. `content` may be blank; then a fixed text stands in."""

    content: str


class Failed(msgspec.Struct, frozen=True):
    error_class: str
    message: str


class Cancelled(msgspec.Struct, frozen=True):
    stop: Stop


Ending = Answered | Failed | Cancelled


class Diverged(Exception):
    """The mode acts differently from what is recorded of it, at this step."""

    def __init__(self, step: int) -> None:
        super().__init__(f"the replay diverged at step {step}")
        self.step = step


class Driver:
    """One run in this process. `advance` may be cancelled at any time; `end` then closes what it left open."""

    def __init__(
        self, record: RunRecord, ledger: Ledger, effects: Effects, *, locale: Locale, claimed_at: datetime
    ) -> None:
        self._task_id = record.task_id
        self._record = record
        self._ledger = ledger
        self._effects = effects
        self._locale: Locale = locale
        self._refs = {ref.spec.name: ref for ref in record.requested.tools}
        self._calls: dict[int, Called] = dict(record.calls)
        self._outcomes: dict[int, Closed] = dict(record.outcomes)
        began_at = record.began_at or claimed_at
        self._before_seconds = max(0.0, (claimed_at - began_at).total_seconds())
        self._started = asyncio.get_running_loop().time()

    @property
    def elapsed_seconds(self) -> float:
        """Since the run's first claim, whichever worker that was."""
        return self._before_seconds + asyncio.get_running_loop().time() - self._started

    async def advance(self, mode: Mode) -> Ending:
        """Runs the mode to its end. Raises `LeaseLost` and `LogUnavailable`."""
        step = 0
        try:
            intents = next(mode)
            while True:
                numbered = tuple(
                    Numbered(at, intent_key(intent), intent)
                    for at, intent in enumerate(intents, start=step + 1)
                )
                step += len(numbered)
                recorded = self._check(numbered)
                if not recorded:
                    await self._intend(numbered)
                intents = mode.send(await self._carry_out(numbered, again=recorded))
        except StopIteration as stop:
            if beyond := [known for known in self._calls if known > step]:
                return self._diverged(min(beyond))
            return Answered(stop.value)
        except RunAborted as error:
            return Failed(error.error_class, str(error))
        except Diverged as error:
            return self._diverged(error.step)
        finally:
            mode.close()

    async def end(self, ending: Ending) -> None:
        """Close what is open and append the terminal event, all at once."""
        open_calls = [call for step, call in sorted(self._calls.items()) if step not in self._outcomes]
        closing = [self._outcome_event(self._closed(call, ending)) for call in open_calls]
        said = [self._event(self._said(ending), "message")] if self._says(ending) else []
        cause = ending.stop.cause if isinstance(ending, Cancelled) else None
        terminal = self._event(self._terminal(ending), "ended", cause)
        answers = tuple(
            outcome_id(self._task_id, call.step) for call in open_calls if isinstance(call, ModelCalled)
        )
        await self._ledger.append([*closing, *said, terminal], closes=answers)
        self.forget()

    def forget(self) -> None:
        """Let go of the live answers, also where another worker has the run by now."""
        for step in self._calls:
            self._effects.close(step)

    def _check(self, numbered: tuple[Numbered, ...]) -> bool:
        """Whether these intents are recorded; they were appended together. Raises `Diverged`."""
        if len(numbered) > INTENTS_AT_ONCE_MAX:
            raise RunAborted("internal", f"More than {INTENTS_AT_ONCE_MAX} steps at once are not possible.")
        known = [one for one in numbered if one.step in self._calls]
        for one in known:
            if self._calls[one.step].key != one.key:
                raise Diverged(one.step)
        if known and len(known) < len(numbered):
            raise Diverged(numbered[len(known)].step)
        return bool(known)

    async def _intend(self, numbered: tuple[Numbered, ...]) -> None:
        called = [self._called(one) for one in numbered]
        if called:
            events = [self._event(call, intent_id(self._task_id, call.step)) for call in called]
            # Noted first: a cancellation during the append must not leave a call open that is in the log.
            self._calls |= {call.step: call for call in called}
            await self._ledger.append(events)

    async def _carry_out(self, numbered: tuple[Numbered, ...], *, again: bool) -> tuple[Outcome, ...]:
        if len(numbered) == 1:
            return (await self._settle(numbered[0], again=again),)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._settle(one, again=again)) for one in numbered]
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return tuple(task.result() for task in tasks)

    async def _settle(self, one: Numbered, *, again: bool) -> Outcome:
        """The outcome of one intent: the recorded one, or a new one. `again`: it may have been begun before."""
        if (recorded := self._outcomes.get(one.step)) is not None:
            return outcome_of(recorded)
        called = self._calls[one.step]
        if again and isinstance(called, ToolCalled) and called.effect == "once":
            closed = effect_unknown(called)
        else:
            closed = await self._effects.carry_out(one, offset=self._ledger.offset)
        try:
            await self._record_outcome(closed)
        except PayloadTooLarge as error:
            too_large = f"The answer has {error.size_bytes} bytes, the limit is {error.limit_bytes}."
            closed = ModelFailed(one.step, one.key, "malformed_answer", too_large)
            await self._record_outcome(closed)
        self._effects.close(one.step)
        return outcome_of(closed)

    async def _record_outcome(self, closed: Closed) -> None:
        event = self._outcome_event(closed)
        self._outcomes[closed.step] = closed
        await self._ledger.append([event], closes=() if isinstance(closed, ToolReturned) else (event.id,))

    def _called(self, one: Numbered) -> Called:
        intent: Intent = one.intent
        match intent:
            case CallModel(request):
                return ModelCalled(one.step, one.key, request.model)
            case CallTool(call):
                ref = self._refs.get(call.name)
                effect = ref.effect if ref is not None else "pure"
                return ToolCalled(one.step, one.key, call.id, call.name, call.arguments, effect)
            case TakeMinute() | Listen():
                raise NotImplementedError
            case _ as never:
                assert_never(never)

    def _closed(self, call: Called, ending: Ending) -> Closed:
        """The outcome of a call that is still open when the run ends."""
        error_class = ending.error_class if isinstance(ending, Failed) else "cancelled"
        match call:
            case ModelCalled():
                partial = self._effects.partial_text(call.step)
                return ModelFailed(call.step, call.key, error_class, CALL_ENDED, partial)
            case ToolCalled(effect="once"):
                return effect_unknown(call)
            case ToolCalled():
                return ToolReturned(call.step, call.key, call.call_id, call.name, CALL_ENDED, error_class)
            case _ as never:
                assert_never(never)

    def _says(self, ending: Ending) -> bool:
        match ending:
            case Answered():
                return True
            case Failed():
                return bool(self._partial())
            case Cancelled(stop):
                return bool(self._partial()) and not stop.forgotten

    def _said(self, ending: Ending) -> Event:
        message_id = str(derived_id(self._task_id, "answer"))
        if not isinstance(ending, Answered):
            return MessageInterrupted(message_id, self._partial())
        last = self._outcomes[max(self._outcomes)] if self._outcomes else None
        thinking = last.answer.thinking if isinstance(last, ModelAnswered) else ""
        if ending.content.strip():
            return MessageAnswered(message_id, ending.content, thinking=thinking)
        return MessageAnswered(
            message_id, text("empty_answer", self._locale), fallback=True, thinking=thinking
        )

    def _partial(self) -> str:
        """What there is of an answer that did not come to its end."""
        last = max(self._calls, default=0)
        match self._outcomes.get(last):
            case ModelFailed(partial_text=partial):
                return partial
            case ModelAnswered(answer=answer):
                return "" if answer.tool_calls else answer.text
            case ToolReturned():
                return ""
            case None:
                return self._effects.partial_text(last)

    def _terminal(self, ending: Ending) -> Event:
        steps = len(self._calls)
        tool_calls = sum(isinstance(call, ToolCalled) for call in self._calls.values())
        answers = [
            closed.answer.usage for closed in self._outcomes.values() if isinstance(closed, ModelAnswered)
        ]
        usage = sum(answers, start=Usage())
        duration_ms = round(self.elapsed_seconds * 1000)
        match ending:
            case Answered():
                return RunCompleted(steps, tool_calls, usage, duration_ms)
            case Failed(error_class, message):
                return RunFailed(error_class, message, steps, tool_calls, usage, duration_ms)
            case Cancelled(stop):
                return RunCancelled(stop.by, stop.reason, steps, tool_calls, usage, duration_ms)
            case _ as never:
                assert_never(never)

    def _diverged(self, step: int) -> Failed:
        return Failed("replay_diverged", text("replay_diverged", self._locale, step=step))

    def _outcome_event(self, closed: Closed) -> NewEvent:
        cause = intent_id(self._task_id, closed.step)
        return self._event(closed, outcome_id(self._task_id, closed.step), cause)

    def _event(self, payload: Event, name: UUID | str, cause: UUID | None = None) -> NewEvent:
        return NewEvent(
            name if isinstance(name, UUID) else derived_id(self._task_id, name),
            payload,
            agent_actor(self._record.requested.agent),
            self._task_id,
            cause or self._record.requested_id,
            self._record.correlation_id,
        )
