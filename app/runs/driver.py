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
    ChildAwaited,
    ChildStarted,
    EffectUnknown,
    ModelAnswered,
    ModelCalled,
    ModelFailed,
    RunTold,
    TeamDissolved,
    ToolCalled,
    ToolReturned,
)
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
    RunEnded,
    Started,
    StartRun,
    TakeMinute,
    TellRun,
    intent_key,
)
from app.core.quotas import QUOTA_EXCEEDED
from app.core.texts import Locale, text
from app.log.errors import PayloadTooLarge
from app.runs.budget import SPEAKERS_SHARE, exceeded, exceeded_for_speaker, left_for_child, spent
from app.runs.children import Children
from app.runs.ears import Ears
from app.runs.effects import Effects, Numbered, effect_unknown
from app.runs.ending import (
    Answered,
    Cancelled,
    Ending,
    Failed,
    closed_by,
    last_words,
    may_have_begun,
    terminal,
)
from app.runs.ledger import Ledger
from app.runs.people import Requests
from app.runs.quotas import QuotaReached, RunQuota
from app.runs.record import Called, Closed, RunRecord, intent_id, outcome_id, outcome_of

INTENTS_AT_ONCE_MAX = 200
WORDS: dict[type, str] = {TeamDissolved: "dissolved"}
"""Names of the last words' events where they are not the message."""


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
        children: Children,
        quota: RunQuota,
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
        self._children = children
        self._quota = quota
        self._locale: Locale = locale
        self._refs = {ref.spec.name: ref for ref in record.requested.tools}
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
            if beyond := [known for known in self._record.steps if known > step]:
                return self._diverged(min(beyond))
            return Answered(stop.value)
        except QuotaReached as error:
            return Failed(error.error_class, str(error), error.info)
        except RunAborted as error:
            return Failed(error.error_class, str(error))
        except Diverged as error:
            return self._diverged(error.step)
        finally:
            mode.close()

    async def end(self, ending: Ending) -> None:
        """Close what is open and append the terminal event, all at once."""
        await self._requests.close()
        record, ledger = self._record, self._ledger
        open_calls = [call for step, call in sorted(record.calls.items()) if step not in record.outcomes]
        closing: list[NewEvent] = []
        for call in open_calls:
            partial = self._effects.partial_text(call.step)
            closing += self._outcome_events(closed_by(record, call, ending, partial, self._locale))
        partial = self._effects.partial_text(max(record.calls, default=0))
        words = last_words(record, ending, partial, self._locale)
        said = [ledger.event(word, WORDS.get(type(word), "message")) for word in words]
        cause = ending.stop.cause if isinstance(ending, Cancelled) else None
        duration_ms = round(self.elapsed_seconds * 1000)
        last = ledger.event(terminal(record, ending, duration_ms), "ended", cause)
        answers = tuple(
            outcome_id(self._task_id, call.step) for call in open_calls if isinstance(call, ModelCalled)
        )
        await ledger.append([*closing, *self._children.left_open(), *said, last], closes=answers)
        self.forget()

    def forget(self) -> None:
        """Let go of the live answers, also where another worker has the run by now."""
        for step in self._record.calls:
            self._effects.close(step)

    def _check(self, numbered: tuple[Numbered, ...]) -> bool:
        """Whether these intents are recorded; they were appended together. Raises `Diverged`."""
        if len(numbered) > INTENTS_AT_ONCE_MAX:
            raise RunAborted("internal", f"More than {INTENTS_AT_ONCE_MAX} steps at once are not possible.")
        known = 0
        for one in numbered:
            recorded = self._record.calls.get(one.step) or self._record.notes.get(one.step)
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
        if any(known > step for known in self._record.steps):
            return Heard()
        return Heard(await self._ears.hear(step))

    async def _intend(self, numbered: tuple[Numbered, ...]) -> None:
        if any(isinstance(one.intent, CallModel) and not one.intent.speaker for one in numbered):
            spent_now = spent(self._record, self.active_seconds)
            if sentence := exceeded(self._record.requested.limits, spent_now, self._locale):
                raise RunAborted("budget_exceeded", sentence)
        events: list[NewEvent] = []
        for one in numbered:
            events += self._note(one)
        if events:
            await self._ledger.append(events)

    def _note(self, one: Numbered) -> list[NewEvent]:
        """What goes on record for an intent before it is carried out."""
        record, event_id, more = self._record, intent_id(self._task_id, one.step), list[NewEvent]()
        match one.intent:
            case TakeMinute(note):
                noted = record.notes[one.step] = msgspec.structs.replace(note, step=one.step, key=one.key)
            case StartRun(spec):
                spent_now = spent(record, self.active_seconds)
                limits = left_for_child(record.requested.limits, spent_now, spec.limits)
                noted, child = self._children.request(one.step, one.key, spec, limits)
                record.notes[one.step], more = noted, [child]
            case TellRun(to, content):
                noted = record.notes[one.step] = RunTold(one.step, one.key, to, content)
            case _:
                # Noted first: a cancellation during the append must not leave a call open that is in the log.
                noted = record.calls[one.step] = self._called(one)
        return [self._ledger.event(noted, event_id), *more]

    async def _carry_out(self, numbered: tuple[Numbered, ...], *, again: bool) -> tuple[Outcome, ...]:
        if len(numbered) == 1:
            return (await self._settle(numbered[0], again=again),)
        refused: list[QuotaReached] = []  # what goes on beside it is still seen through

        async def settle(one: Numbered) -> Outcome:
            try:
                return await self._settle(one, again=again)
            except QuotaReached as error:
                refused.append(error)
                return Noted()

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(settle(one)) for one in numbered]
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        if refused:
            raise refused[0]
        return tuple(task.result() for task in tasks)

    async def _settle(self, one: Numbered, *, again: bool) -> Outcome:
        """The outcome of one intent: the recorded one, or a new one. `again`: it may have been begun before."""
        noted = self._record.notes.get(one.step)
        if noted is not None:
            if isinstance(noted, ChildStarted):
                self._children.spawn(noted.child)
                return Started(noted.child)
            return Noted()
        if (recorded := self._record.outcomes.get(one.step)) is not None:
            return outcome_of(recorded)
        if isinstance(one.intent, CallModel):
            async with self._quota.calling():
                return await self._close(one, again=again)
        outcome = await self._close(one, again=again)
        if isinstance(outcome, RunEnded) and outcome.error_class == QUOTA_EXCEEDED:
            await self._quota.demand()  # what has ended a child ends its parent
        return outcome

    async def _close(self, one: Numbered, *, again: bool) -> Outcome:
        """Carry the call out and put its outcome on record."""
        closed = await self._outcome(one, self._record.calls[one.step], again=again)
        try:
            await self._record_outcome(closed)
        except PayloadTooLarge as error:
            too_large = text("model_too_large", self._locale, size=error.size_bytes, limit=error.limit_bytes)
            closed = ModelFailed(one.step, one.key, "malformed_answer", too_large)
            await self._record_outcome(closed)
        self._effects.close(one.step)
        return outcome_of(closed)

    async def _outcome(self, one: Numbered, called: Called, *, again: bool) -> Closed:
        if again and isinstance(called, ToolCalled) and may_have_begun(self._record, called):
            return effect_unknown(called)
        match one.intent:
            case AwaitRun():
                limits = self._record.requested.limits
                left = limits.timeout_seconds * SPEAKERS_SHARE - self.active_seconds
                return await self._children.wait(one.step, one.key, one.intent, seconds=left)
            case CallModel(speaker=speaker) if speaker:
                spent_now = spent(self._record, self.active_seconds)
                limits = self._record.requested.limits
                if sentence := exceeded_for_speaker(limits, spent_now, self._locale):
                    return ModelFailed(one.step, one.key, "budget_exceeded", sentence)
                return await self._effects.carry_out(one)
            case _:
                return await self._effects.carry_out(one)

    async def _record_outcome(self, closed: Closed) -> None:
        events = self._outcome_events(closed)
        self._record.outcomes[closed.step] = closed
        is_answer = isinstance(closed, ModelAnswered | ModelFailed)
        await self._ledger.append(events, closes=(events[-1].id,) if is_answer else ())

    def _called(self, one: Numbered) -> Called:
        intent: Intent = one.intent
        match intent:
            case CallModel(request):
                return ModelCalled(
                    one.step,
                    one.key,
                    request.model,
                    intent.aside,
                    intent.speaker,
                    intent.round,
                    intent.purpose,
                    intent.final,
                )
            case CallTool(call):
                ref = self._refs.get(call.name)
                effect = ref.effect if ref is not None else "pure"
                if ref is not None and ref.long_running:
                    effect = "idempotent"  # to start it again finds the operation; its own task has the tool's effect
                return ToolCalled(one.step, one.key, call.id, call.name, call.arguments, effect)
            case AwaitRun():
                return ChildAwaited(one.step, one.key, intent.children, intent.or_word)
            case TakeMinute() | Listen() | StartRun() | TellRun():
                raise TypeError("these are noted, not called")
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
