"""Driving a mode's generator: against the recorded outcomes first, then on, each step an event before and behind it.

    intents of a tuple ──► one append ──► carried out at once ──► an append for each outcome ──► sent into the generator

There is no checkpoint. Whoever has the lease runs the generator again on what the log holds and goes on from there.
"""

import asyncio
from datetime import datetime
from typing import assert_never

import msgspec

from app.core.envelope import NewEvent
from app.core.events import (
    EffectUnknown,
    Event,
    MessageAnswered,
    MessageInterrupted,
    ModelAnswered,
    ModelCalled,
    ModelFailed,
    Note,
    OperationFinished,
    RunCancelled,
    RunCompleted,
    RunFailed,
    ToolCalled,
    ToolReturned,
)
from app.core.ids import derived_id
from app.core.intents import (
    AwaitRun,
    CallModel,
    CallTool,
    Heard,
    Intent,
    Listen,
    Mode,
    Noted,
    Outcome,
    RunAborted,
    StartRun,
    TakeMinute,
    TellRun,
    intent_key,
)
from app.core.messages import Usage
from app.core.texts import Locale, text
from app.log.errors import PayloadTooLarge
from app.runs.ears import Ears
from app.runs.effects import Effects, Numbered, effect_unknown
from app.runs.ledger import Ledger
from app.runs.operations import MODE as OPERATION
from app.runs.people import Requests, request_id
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
        self,
        record: RunRecord,
        ledger: Ledger,
        effects: Effects,
        requests: Requests,
        ears: Ears,
        *,
        locale: Locale,
        claimed_at: datetime,
    ) -> None:
        self._task_id = record.task_id
        self._record = record
        self._ledger = ledger
        self._effects = effects
        self._requests = requests
        self._ears = ears
        self._locale: Locale = locale
        self._refs = {ref.spec.name: ref for ref in record.requested.tools}
        self._calls: dict[int, Called] = dict(record.calls)
        self._notes: dict[int, Note] = dict(record.notes)
        self._outcomes: dict[int, Closed] = dict(record.outcomes)
        began_at = record.began_at or claimed_at
        self._before_seconds = max(0.0, (claimed_at - began_at).total_seconds())
        self._started = asyncio.get_running_loop().time()

    @property
    def elapsed_seconds(self) -> float:
        """Since the run's first claim, whichever worker that was."""
        return self._before_seconds + asyncio.get_running_loop().time() - self._started

    @property
    def active_seconds(self) -> float:
        """What of it counts against the time limit: all but waiting for people."""
        return self.elapsed_seconds - self._requests.waited.total_seconds()

    async def advance(self, mode: Mode) -> Ending:
        """Runs the mode to its end. Raises `LeaseLost` and `LogUnavailable`."""
        step, listened_at = 0, -1
        try:
            intents = next(mode)
            while True:
                if isinstance(intents[0], Listen):
                    heard = Heard() if listened_at == step else await self._listen(step)
                    listened_at = step
                    intents = mode.send((heard,))
                    continue
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
            if beyond := [known for known in self._known() if known > step]:
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
        await self._requests.close()
        open_calls = [call for step, call in sorted(self._calls.items()) if step not in self._outcomes]
        closing = [event for call in open_calls for event in self._outcome_events(self._closed(call, ending))]
        said = [self._ledger.event(self._said(ending), "message")] if self._says(ending) else []
        cause = ending.stop.cause if isinstance(ending, Cancelled) else None
        terminal = self._ledger.event(self._terminal(ending), "ended", cause)
        answers = tuple(
            outcome_id(self._task_id, call.step) for call in open_calls if isinstance(call, ModelCalled)
        )
        await self._ledger.append([*closing, *said, terminal], closes=answers)
        self.forget()

    def forget(self) -> None:
        """Let go of the live answers, also where another worker has the run by now."""
        for step in self._calls:
            self._effects.close(step)

    def _known(self) -> set[int]:
        return self._calls.keys() | self._notes.keys()

    def _check(self, numbered: tuple[Numbered, ...]) -> bool:
        """Whether these intents are recorded; they were appended together. Raises `Diverged`."""
        if len(numbered) > INTENTS_AT_ONCE_MAX:
            raise RunAborted("internal", f"More than {INTENTS_AT_ONCE_MAX} steps at once are not possible.")
        known = 0
        for one in numbered:
            recorded = self._calls.get(one.step) or self._notes.get(one.step)
            if recorded is not None:
                known += 1
                if recorded.key != one.key:
                    raise Diverged(one.step)
        if 0 < known < len(numbered):
            raise Diverged(numbered[known].step)
        return known > 0

    async def _listen(self, step: int) -> Heard:
        """What was heard here before, or is heard now. Nothing was, where the run went on without it on record."""
        if (heard := self._record.heard.get(step)) is not None:
            return Heard(tuple(one.content for one in heard))
        if any(known > step for known in self._known()):
            return Heard()
        return Heard(await self._ears.hear(step))

    async def _intend(self, numbered: tuple[Numbered, ...]) -> None:
        if any(isinstance(one.intent, CallModel) for one in numbered):
            self._check_budget()
        events: list[NewEvent] = []
        for one in numbered:
            if isinstance(one.intent, TakeMinute):
                called = msgspec.structs.replace(one.intent.note, step=one.step, key=one.key)
                self._notes[one.step] = called
            else:
                # Noted first: a cancellation during the append must not leave a call open that is in the log.
                called = self._calls[one.step] = self._called(one)
            events.append(self._ledger.event(called, intent_id(self._task_id, one.step)))
        if events:
            await self._ledger.append(events)

    def _check_budget(self) -> None:
        """Raises `RunAborted` where the run has used what it was given. The call that went over it still counted."""
        limits, (usage, cost_usd) = self._record.requested.limits, self._used()
        if limits.tokens_max is not None and usage.total_tokens >= limits.tokens_max:
            raise RunAborted("budget_exceeded", text("budget_tokens", self._locale, limit=limits.tokens_max))
        if limits.cost_usd_max is not None and (cost_usd or 0.0) >= limits.cost_usd_max:
            limit = f"{limits.cost_usd_max:g}"
            raise RunAborted("budget_exceeded", text("budget_cost", self._locale, limit=limit))

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
        if isinstance(one.intent, TakeMinute):
            return Noted()
        if (recorded := self._outcomes.get(one.step)) is not None:
            return outcome_of(recorded)
        called = self._calls[one.step]
        if again and isinstance(called, ToolCalled) and self._may_have_begun(called):
            closed = effect_unknown(called)
        else:
            closed = await self._effects.carry_out(one)
        try:
            await self._record_outcome(closed)
        except PayloadTooLarge as error:
            too_large = f"The answer has {error.size_bytes} bytes, the limit is {error.limit_bytes}."
            closed = ModelFailed(one.step, one.key, "malformed_answer", too_large)
            await self._record_outcome(closed)
        self._effects.close(one.step)
        return outcome_of(closed)

    def _may_have_begun(self, called: ToolCalled) -> bool:
        """Whether a call that may not be repeated was on its way. One that waits for consent begins with its use."""
        if called.effect != "once":
            return False
        ref = self._refs.get(called.name)
        needs_consent = ref is not None and ref.confirm
        return not needs_consent or request_id(self._task_id, called.step) in self._record.used

    async def _record_outcome(self, closed: Closed) -> None:
        events = self._outcome_events(closed)
        self._outcomes[closed.step] = closed
        await self._ledger.append(events, closes=() if isinstance(closed, ToolReturned) else (events[-1].id,))

    def _called(self, one: Numbered) -> Called:
        intent: Intent = one.intent
        match intent:
            case CallModel(request, aside):
                return ModelCalled(one.step, one.key, request.model, aside)
            case CallTool(call):
                ref = self._refs.get(call.name)
                effect = ref.effect if ref is not None else "pure"
                if ref is not None and ref.long_running:
                    effect = "idempotent"  # to start it again finds the operation; its own task has the tool's effect
                return ToolCalled(one.step, one.key, call.id, call.name, call.arguments, effect)
            case TakeMinute() | Listen() | StartRun() | AwaitRun() | TellRun():
                raise TypeError("a note and a listening are no calls")
            case _ as never:
                assert_never(never)

    def _closed(self, call: Called, ending: Ending) -> Closed:
        """The outcome of a call that is still open when the run ends."""
        error_class = ending.error_class if isinstance(ending, Failed) else "cancelled"
        match call:
            case ModelCalled():
                partial = self._effects.partial_text(call.step)
                return ModelFailed(call.step, call.key, error_class, CALL_ENDED, partial)
            case ToolCalled() if self._may_have_begun(call):
                return effect_unknown(call)
            case ToolCalled():
                return ToolReturned(call.step, call.key, call.call_id, call.name, CALL_ENDED, error_class)
            case _ as never:
                assert_never(never)

    def _says(self, ending: Ending) -> bool:
        if self._record.requested.parent is not None:
            return self._record.requested.mode == OPERATION
        match ending:
            case Answered():
                return True
            case Failed():
                return bool(self._partial())
            case Cancelled(stop):
                return bool(self._partial()) and not stop.forgotten

    def _said(self, ending: Ending) -> Event:
        if self._record.requested.mode == OPERATION:
            return operation_finished(self._record, ending)
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
        match self._calls.get(last):
            case ModelCalled(aside=False):
                pass
            case _:
                return ""
        match self._outcomes.get(last):
            case ModelFailed(partial_text=partial):
                return partial
            case ModelAnswered(answer=answer):
                return "" if answer.tool_calls else answer.text
            case ToolReturned():
                return ""
            case None:
                return self._effects.partial_text(last)

    def _used(self) -> tuple[Usage, float | None]:
        """Tokens and US dollars of all model calls, failed attempts too; None where no price was known for any."""
        answers = [closed for closed in self._outcomes.values() if isinstance(closed, ModelAnswered)]
        usage = sum((one.answer.usage for one in answers), start=self._record.usage)
        costs = [one.cost_usd for one in answers if one.cost_usd is not None]
        return usage, sum(costs) + self._record.cost_usd if costs or self._record.cost_usd else None

    def _terminal(self, ending: Ending) -> Event:
        usage, cost_usd = self._used()
        tool_calls = sum(isinstance(call, ToolCalled) for call in self._calls.values())
        totals = (len(self._calls), tool_calls, usage, round(self.elapsed_seconds * 1000), cost_usd)
        match ending:
            case Answered():
                return RunCompleted(*totals)
            case Failed(error_class, message):
                return RunFailed(error_class, message, *totals)
            case Cancelled(stop):
                return RunCancelled(stop.by, stop.reason, *totals)
            case _ as never:
                assert_never(never)

    def _diverged(self, step: int) -> Failed:
        return Failed("replay_diverged", text("replay_diverged", self._locale, step=step))

    def _outcome_events(self, closed: Closed) -> list[NewEvent]:
        """The outcome, behind the word that nobody knows what came of it where that is so."""
        cause = intent_id(self._task_id, closed.step)
        outcome = self._ledger.event(closed, outcome_id(self._task_id, closed.step), cause)
        if isinstance(closed, ToolReturned) and closed.error_class == "effect_unknown":
            unknown = EffectUnknown(closed.step, closed.key, closed.call_id, closed.name)
            return [self._ledger.event(unknown, f"unknown/{closed.step}", cause), outcome]
        return [outcome]


def operation_finished(record: RunRecord, ending: Ending) -> OperationFinished:
    """What takes the place of an operation's pending result."""
    match ending:
        case Answered(content):
            error_class = None
        case Failed(error_class, content):
            pass
        case Cancelled(stop):
            error_class, content = "cancelled", stop.reason or CALL_ENDED
    requested = record.requested
    name = requested.tools[0].spec.name if requested.tools else ""
    return OperationFinished(
        str(record.task_id), name, content, error_class, requested.message_id, requested.parent or ""
    )
