"""What was sent to the model at a step, rebuilt from the log alone.

A mode asks for the same again when it is sent the same again. So it is run on the recorded outcomes up to the step,
and what it asks for there is what the model was asked; the recorded digest of the request proves it.
"""

from collections.abc import Sequence
from typing import Literal
from uuid import UUID

import msgspec

from app.agents.modes import MODES
from app.core.envelope import Recorded
from app.core.events import (
    ChildStarted,
    ModelAnswered,
    ModelAttemptFailed,
    ModelCalled,
    ModelFailed,
    Tier,
    ToolCalled,
)
from app.core.intents import (
    CallModel,
    Heard,
    Listen,
    Mode,
    Noted,
    Outcome,
    RunAborted,
    Started,
    intent_key,
)
from app.core.messages import ModelRequest
from app.log.read import LogReader
from app.runs.record import RunRecord, fold, outcome_of, read_events
from app.runs.start import run_start


class PromptError(Exception):
    """The prompt cannot be shown; the message says why and what could be shown instead."""


class SentTo(msgspec.Struct, frozen=True, omit_defaults=True):
    """One recorded attempt. The last one of a call that was answered has no `error_class`."""

    attempt: int
    tier: Tier
    model: str = ""
    error_class: str | None = None
    message: str = ""
    duration_ms: int = 0


class Prompt(msgspec.Struct, frozen=True):
    """What was asked at `step`, by the event at `offset` of `stream`. `request.model` is what was asked for; which
    models it went to is in `attempts`. `answer_offset` is where the outcome stands; None while the call is open."""

    task_id: UUID
    stream: str
    mode: str
    step: int
    offset: int
    request: ModelRequest
    attempts: tuple[SentTo, ...] = ()
    outcome: Literal["answered", "failed", "open"] = "open"
    answer_offset: int | None = None


async def rebuild(reader: LogReader, stream: str, task_id: UUID, step: int | None = None) -> Prompt:
    """The prompt of step `step`, which counts from 1; None: of the last model call.

    Raises `PromptError` for a step that is no model call, or where the mode of this release asks for something else
    than the one that ran; and `LogUnavailable`.
    """
    events = await read_events(reader, stream, task_id)
    record = fold(events, task_id)
    if record is None:
        raise PromptError(f"There is no task {task_id} in {stream}.")
    step = _model_step(record, step)
    entry = MODES.get(record.requested.mode)
    if entry is None:
        raise PromptError(f"The mode {record.requested.mode!r} of this task is not part of this release.")
    start = await run_start(reader, stream, record, record.history_until)
    request = request_at(entry.run(start), record, step)
    return _described(events, record, stream, step, request)


def request_at(mode: Mode, record: RunRecord, step: int) -> ModelRequest:
    """What the mode asks the model at `step` when it is sent what is recorded. Raises `PromptError`."""
    at, listened_at = 0, -1
    try:
        intents = next(mode)
        while True:
            if isinstance(intents[0], Listen):
                heard = () if listened_at == at else record.heard.get(at, ())
                listened_at = at
                intents = mode.send((Heard(tuple(one.content for one in heard)),))
                continue
            outcomes: list[Outcome] = []
            for intent in intents:
                at += 1
                recorded = record.calls.get(at) or record.notes.get(at)
                if recorded is None or recorded.key != intent_key(intent):
                    raise _diverged(record, at)
                if at == step and isinstance(intent, CallModel):
                    return intent.request
                outcomes.append(_outcome(record, at))
            intents = mode.send(tuple(outcomes))
    except (StopIteration, RunAborted):
        raise _diverged(record, at + 1) from None  # the recorded run went on
    finally:
        mode.close()


def _outcome(record: RunRecord, step: int) -> Outcome:
    if (noted := record.notes.get(step)) is not None:
        return Started(noted.child) if isinstance(noted, ChildStarted) else Noted()
    closed = record.outcomes.get(step)
    if closed is None:
        raise _diverged(record, step)
    return outcome_of(closed)


def _diverged(record: RunRecord, step: int) -> PromptError:
    requested = record.requested
    entry = MODES.get(requested.mode)
    versions = f"; it ran as version {requested.mode_version}" + (
        f", this release has version {entry.version}" if entry is not None else ""
    )
    return PromptError(
        f"The replay diverged at step {step}: the mode {requested.mode!r} of this release acts differently from what "
        f"is recorded{versions}."
    )


def _model_step(record: RunRecord, step: int | None) -> int:
    steps = sorted(at for at, call in record.calls.items() if isinstance(call, ModelCalled))
    if not steps:
        raise PromptError(f"The task {record.task_id} has made no model call.")
    if step is None:
        return steps[-1]
    if step in steps:
        return step
    shown = f"Its model calls are: {', '.join(map(str, steps))}."
    match record.calls.get(step) or record.notes.get(step):
        case None:
            last = max(record.calls.keys() | record.notes.keys())
            raise PromptError(f"The task has the steps 1 to {last}, so none {step}. {shown}")
        case ToolCalled(name=name):
            raise PromptError(f"Step {step} is a call of the tool {name}. {shown}")
        case _:
            raise PromptError(f"Step {step} is a note of the mode. {shown}")


def _described(
    events: Sequence[Recorded], record: RunRecord, stream: str, step: int, request: ModelRequest
) -> Prompt:
    prompt = Prompt(record.task_id, stream, record.requested.mode, step, 0, request)
    for recorded in events:
        if recorded.task_id != record.task_id or not recorded.type.startswith("model."):
            continue
        event = recorded.event()
        match event:
            case ModelCalled() if event.step == step:
                prompt = msgspec.structs.replace(prompt, offset=recorded.offset)
            case ModelAttemptFailed() if event.step == step:
                made = SentTo(
                    event.attempt,
                    event.tier,
                    event.model,
                    event.error_class,
                    event.message,
                    event.duration_ms,
                )
                prompt = msgspec.structs.replace(prompt, attempts=(*prompt.attempts, made))
            case ModelAnswered() if event.step == step:
                made = SentTo(event.attempt, event.tier, event.answer.model, duration_ms=event.duration_ms)
                prompt = _ended(prompt, recorded, made, "answered")
            case ModelFailed() if event.step == step:
                made = SentTo(
                    event.attempt, event.tier, "", event.error_class, event.message, event.duration_ms
                )
                prompt = _ended(prompt, recorded, made, "failed")
            case _:
                pass
    return prompt


def _ended(
    prompt: Prompt, recorded: Recorded, made: SentTo, outcome: Literal["answered", "failed"]
) -> Prompt:
    return msgspec.structs.replace(
        prompt, attempts=(*prompt.attempts, made), outcome=outcome, answer_offset=recorded.offset
    )
