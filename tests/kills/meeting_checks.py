"""What has to hold of a board or team after a kill, from the log: nothing is said or done twice, every child run ended
once, a team was dissolved once, and a person's word is in the minutes once and in every prompt that follows.

The prompts are those of `app/runs/prompts.py`: rebuilt from the log, and proven by the recorded digests.
"""

from collections import Counter
from collections.abc import Hashable, Sequence
from uuid import UUID

from app.agents.modes import MODES
from app.core.envelope import Recorded
from app.core.events import (
    TERMINAL_TYPES,
    BoardConcluded,
    BoardStarted,
    ChildAnswered,
    ChildEnded,
    ChildStarted,
    ExpertSilent,
    ExpertSpoke,
    InterventionHeard,
    InterventionMinuted,
    NoticeGiven,
    PhaseCompleted,
    PhaseFailed,
    PhaseStarted,
    ResultReviewed,
    RoundSummarized,
    RunRequested,
    TeamDissolved,
    TeamFormed,
    TeamSynthesized,
)
from app.core.meeting_events import MEETING_MODES
from app.log.read import LogReader
from app.runs.prompts import request_at
from app.runs.record import fold
from app.runs.start import run_start
from tests.kills.checks import demand
from tests.kills.client import Client


async def check_meetings(reader: LogReader, events: Sequence[Recorded], client: Client) -> None:
    """Of all meetings of the conversation. Raises `Broken` and `LogUnavailable`."""
    for one in events:
        event = one.event() if one.type == "run.requested" else None
        if isinstance(event, RunRequested) and event.mode in MEETING_MODES:
            assert one.task_id is not None
            where = f"{client.stream}: {event.mode} {one.task_id}"
            _check_once(events, one.task_id, where)
            _check_children(events, one.task_id, where)
            for word in _words(events, one.task_id):
                await _check_word(reader, events, one.task_id, word, f"{where}: {word!r}")


def _check_once(events: Sequence[Recorded], task_id: UUID, where: str) -> None:
    happened: Counter[Hashable] = Counter()
    for one in _own(events, task_id):
        if (what := _what(one)) is not None:
            happened[what] += 1
    twice = [what for what, times in happened.items() if times > 1]
    demand(not twice, f"{where}: on record more than once: {twice}")
    demand(happened["formed"] == happened["dissolved"], f"{where}: dissolved {happened['dissolved']} times")
    demand(
        ("concluded" in happened) == ("convened" in happened), f"{where}: convened and not concluded, or not"
    )


def _what(one: Recorded) -> Hashable | None:
    """What happens once in a meeting; these have no rejected results."""
    match one.event():
        case ExpertSpoke(expert_id=expert, round=round, role=role):
            return "turn", expert, round, role
        case ExpertSilent(expert_id=expert, round=round):
            return "turn", expert, round, "expert"
        case RoundSummarized(round=round):
            return "summary", round
        case PhaseStarted(phase_id=phase, attempt=attempt):
            return "started", phase, attempt
        case ResultReviewed(phase_id=phase):
            return "reviewed", phase
        case PhaseCompleted(phase_id=phase) | PhaseFailed(phase_id=phase):
            return "over", phase
        case BoardStarted():
            return "convened"
        case BoardConcluded():
            return "concluded"
        case TeamFormed():
            return "formed"
        case TeamSynthesized():
            return "synthesis"
        case TeamDissolved():
            return "dissolved"
        case _:
            return None


def _check_children(events: Sequence[Recorded], task_id: UUID, where: str) -> None:
    own = [one.event() for one in _own(events, task_id)]
    for child in _children(events, task_id):
        ends = [one.type for one in _own(events, child) if one.type in TERMINAL_TYPES]
        answers = [one for one in _own(events, child) if isinstance(one.event(), ChildAnswered)]
        ended = [one for one in own if isinstance(one, ChildEnded) and one.child == str(child)]
        once = len(ends) == len(answers) == len(ended) == 1
        demand(
            once, f"{where}: child {child} ended: {ends}, {len(answers)} answers, heard of {len(ended)} times"
        )


async def _check_word(
    reader: LogReader, events: Sequence[Recorded], task_id: UUID, word: str, where: str
) -> None:
    """Minuted once, heard once by the meeting and by each member who was at work then, and in all prompts behind it."""
    own = _own(events, task_id)
    minuted = [one for one in own if _minutes_word(one, word)]
    demand(len(minuted) == 1, f"{where}: minuted {len(minuted)} times")
    for run in (task_id, *_children(events, task_id)):
        of_run = _own(events, run)
        heard_at = [one.offset for one in of_run if _hears(one, word)]
        over_at = next((one.offset for one in of_run if one.type in TERMINAL_TYPES), 0)
        if of_run[0].offset > minuted[0].offset:  # begun behind it, and told at once
            heard_at = [*heard_at, of_run[0].offset]
        elif over_at < minuted[0].offset:
            continue
        demand(len(heard_at) == 1, f"{where}: {run} heard it {len(heard_at)} times")
        asked = [one for one in of_run if one.type == "model.called" and one.offset > heard_at[0]]
        demand(asked or run != task_id, f"{where}: nobody was asked behind it")
        for one, prompt in zip(asked, await _prompts(reader, events, run, asked), strict=True):
            demand(word in prompt, f"{where}: it is not in the prompt of offset {one.offset}")


async def _prompts(
    reader: LogReader, events: Sequence[Recorded], run: UUID, asked: Sequence[Recorded]
) -> list[str]:
    """What the model was sent by these events of the run."""
    record = fold(events, run)
    assert record is not None
    start = await run_start(reader, events[0].stream, record, record.history_until)
    mode = MODES[record.requested.mode]
    requests = [request_at(mode.run(start), record, one.event().step) for one in asked]  # type: ignore[union-attr]
    return ["\n".join(message.content or "" for message in request.messages) for request in requests]


def _minutes_word(one: Recorded, word: str) -> bool:
    match one.event():
        case InterventionMinuted(content=content) | NoticeGiven(content=content):
            return content == word
        case _:
            return False


def _hears(one: Recorded, word: str) -> bool:
    event = one.event() if one.type == "run.intervention_heard" else None
    return isinstance(event, InterventionHeard) and any(word in said.content for said in event.messages)


def _words(events: Sequence[Recorded], task_id: UUID) -> list[str]:
    """What people have said to this meeting."""
    requested = [one.event() for one in events if one.type == "run.requested"]
    return [
        event.input for event in requested if isinstance(event, RunRequested) and event.steers == str(task_id)
    ]


def _own(events: Sequence[Recorded], task_id: UUID) -> list[Recorded]:
    return [one for one in events if one.task_id == task_id]


def _children(events: Sequence[Recorded], task_id: UUID) -> list[UUID]:
    started = (one.event() for one in _own(events, task_id) if one.type == "run.child_started")
    return [UUID(event.child) for event in started if isinstance(event, ChildStarted)]
