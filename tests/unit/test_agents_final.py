"""Contract section 2: which model calls can only be the answer. What says so must hold whatever the model writes."""

from collections.abc import Callable

import pytest

from app.agents.direct import direct_chat
from app.agents.plan_exec import plan_exec
from app.agents.react import react
from app.agents.reflexion import reflexion
from app.agents.rewoo import rewoo
from app.agents.skill_react import skill_react
from app.core.events import RunLimits
from app.core.intents import CallModel, Mode, RunStart, intent_key
from app.core.messages import ModelAnswer, ModelRequest, ToolCall
from tests.support.modes import drive, said, spec

CALL = ToolCall("c", "clock", "{}")
PLAN = "Plan: look\n#E1 = clock[{}]"
Run = Callable[[RunStart], Mode]


def finals(mode: Run, *answers: ModelAnswer, steps: int = 3) -> list[bool]:
    start = RunStart("hello", "You keep clocks.", tools=(spec("clock"),), limits=RunLimits(max_steps=steps))
    return [call.final for call in drive(mode(start), answers).all(CallModel)]


BUSY = said("I look.", CALL)


@pytest.mark.parametrize(
    ("mode", "answers"),
    [
        (direct_chat, [BUSY]),
        (react, [BUSY, BUSY, BUSY]),
        (skill_react, [BUSY, BUSY, BUSY]),
        (plan_exec, [BUSY, BUSY, BUSY]),
        (rewoo, [said(PLAN), BUSY]),
    ],
)
def test_the_last_call_says_that_it_is_the_answer_and_no_other_does(
    mode: Run, answers: list[ModelAnswer]
) -> None:
    """Also where the model asks for a tool that nobody offers any more."""
    assert finals(mode, *answers) == [False] * (len(answers) - 1) + [True]


def test_an_attempt_that_is_going_to_be_criticised_is_no_answer_yet() -> None:
    """Guard: a `token` of a rejected attempt would have to be taken back."""
    attempt, revise = said("An attempt."), said("VERDICT: REVISE\nToo short.")
    accepted = (attempt, revise, attempt, said("VERDICT: ACCEPT"))
    assert not any(finals(reflexion, *accepted, steps=8))
    assert not any(finals(reflexion, BUSY, BUSY, attempt, revise, steps=4))  # its last call has no tools
    assert finals(reflexion, said("Alone."), steps=1) == [True]


def test_a_call_that_may_still_be_followed_by_what_people_say_is_no_answer_yet() -> None:
    assert finals(react, said("Done.")) == [False]


def test_the_key_of_a_call_is_the_same_whether_or_not_it_says_so() -> None:
    """Guard: runs recorded before there was `final` still replay."""
    request = ModelRequest(())
    assert intent_key(CallModel(request, final=True)) == intent_key(CallModel(request))
