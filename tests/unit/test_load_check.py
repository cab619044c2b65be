"""The load benchmark finds every fault that it is there to find: what clients have seen, held against the log."""

from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

import msgspec
import pytest

from app.bench.load_check import Found, check
from app.bench.load_plan import Live, Said, Talk, Told
from app.bench.load_server import flatness
from app.core import events
from app.core.envelope import Recorded
from app.core.events import (
    Event,
    MessageAnswered,
    MessageReceived,
    ModelAnswered,
    ModelCalled,
    RunClaimed,
    RunCompleted,
    RunRequested,
)
from app.core.messages import ModelAnswer, Usage

STREAM = "conversation/ana/c"
TASK = UUID(int=7)
QUESTION, ANSWER = "How many?", "You said: How many? Forty-two."
ANSWER_ID = str(UUID(int=105))
_EVENTS: tuple[Event, ...] = (
    MessageReceived("m", QUESTION),
    RunRequested("m", QUESTION, "assistant", "react", 1),
    RunClaimed("node", 1, 2),
    ModelCalled(1, "key"),
    ModelAnswered(1, "key", ModelAnswer("scripted", ANSWER, thinking="Let me see."), 10),
    MessageAnswered("m", ANSWER),
    RunCompleted(1, 0, Usage(), 10),
)


def log() -> list[Recorded]:
    return [
        Recorded(
            STREAM,
            offset,
            offset,
            0,
            UUID(int=100 + offset),
            msgspec.to_builtins(event)["type"],
            events.encode(event),
            1,
            "system",
            None if offset == 1 else TASK,
            None,
            None,
            None,
            datetime.now(UTC),
        )
        for offset, event in enumerate(_EVENTS, start=1)
    ]


def seen() -> Talk:
    told = [
        Told(2, "routing", str(TASK)),
        Told(5, "turn.thinking", str(TASK)),
        Told(6, "turn.final_answer", str(TASK)),
        Told(7, "result", str(TASK)),
    ]
    said = Said("load", QUESTION, 0.1, 0.2, task_id=str(TASK), answer=ANSWER)
    return Talk("ana", "c", told, {ANSWER_ID: Live("You said: How", "Let me")}, [said], live_frames=2)


def faults(talk: Talk) -> dict[str, int]:
    found = Found()
    check(found, talk, log())
    assert len(found.examples) == found.faults
    counts = msgspec.structs.asdict(found)
    return {name: counts[name] for name in ("lost", "doubled", "disordered", "wrong") if counts[name]}


def test_what_came_once_and_in_order_is_no_fault() -> None:
    found = Found()
    check(found, seen(), log())
    assert (found.frames, found.live_frames, found.faults) == (4, 2, 0)


@pytest.mark.parametrize("index", range(4))
def test_every_frame_that_did_not_come_is_lost(index: int) -> None:
    talk = seen()
    del talk.told[index]
    assert faults(talk) == {"lost": 1}


@pytest.mark.parametrize("index", range(4))
def test_every_frame_that_came_twice_is_doubled(index: int) -> None:
    talk = seen()
    talk.told.insert(index, talk.told[index])
    assert faults(talk) == {"doubled": 1}


def test_a_frame_behind_a_later_one_is_out_of_order() -> None:
    talk = seen()
    talk.told[1], talk.told[2] = talk.told[2], talk.told[1]
    assert faults(talk) == {"disordered": 1}


def _of_another_kind(talk: Talk) -> None:
    talk.told.append(Told(7, "error", str(TASK)))


def _live_text_with_a_gap(talk: Talk) -> None:
    talk.live[ANSWER_ID].text = "You: How"


def _live_text_twice(talk: Talk) -> None:
    talk.live[ANSWER_ID].thinking = "Let meLet me"


def _live_text_of_nothing(talk: Talk) -> None:
    talk.live[str(TASK)] = Live("You")


def _no_answer(talk: Talk) -> None:
    talk.said[0].answer = None


def _answer_that_is_not_recorded(talk: Talk) -> None:
    talk.said[0].answer = ANSWER + " "


def _message_that_is_not_recorded(talk: Talk) -> None:
    talk.said[0].content = "How"


def _trouble(talk: Talk) -> None:
    talk.troubles.append("ConnectionClosedError: …")


@pytest.mark.parametrize(
    "spoil",
    [
        _of_another_kind,
        _live_text_with_a_gap,
        _live_text_twice,
        _live_text_of_nothing,
        _no_answer,
        _answer_that_is_not_recorded,
        _message_that_is_not_recorded,
        _trouble,
    ],
)
def test_what_is_not_as_the_log_has_it_is_wrong(spoil: Callable[[Talk], None]) -> None:
    talk = seen()
    spoil(talk)
    assert faults(talk) == {"wrong": 1}


def test_memory_is_judged_by_its_second_and_its_last_quarter() -> None:
    assert flatness([10, 50, 100, 100, 100, 100, 104, 104]) == (100, 104)


def test_too_few_samples_of_memory_are_an_error() -> None:
    with pytest.raises(ValueError, match="3 samples"):
        flatness([1, 2, 3])
