"""`reflexion`: attempt, critique, another attempt with the memory of critiques."""

import msgspec
import pytest

from app.agents.reflexion import CRITIQUE, EMPTY, is_accepted, reflexion
from app.core.acting import LAST_CALL
from app.core.events import AttemptCritiqued, RunLimits
from app.core.intents import RunStart
from app.core.messages import ChatMessage, ToolCall
from app.core.texts import text
from tests.support.modes import drive, failed, said, spec, texts

START = RunStart("Which?", "Be brief.", tools=(spec("look"),), limits=RunLimits(max_steps=12))
LOOK = ToolCall("1", "look")
GOOD, BAD = said("VERDICT: ACCEPT"), said("VERDICT: REVISE\nYou did not look.")
NOT_PASSED = f"\n\n{text('check_not_passed')}"


def with_steps(steps: int) -> RunStart:
    return msgspec.structs.replace(START, limits=RunLimits(max_steps=steps))


def test_an_attempt_that_passes_its_own_check_is_the_answer() -> None:
    played = drive(reflexion(START), [said("", LOOK), said("This."), GOOD])
    assert played.answer == "This."
    assert played.shape == ["model", "tool", "listen", "model", "listen", "model", "note"]
    assert played.notes == [AttemptCritiqued(1, accepted=True, critique="VERDICT: ACCEPT")]


def test_the_check_sees_what_the_tools_said_but_has_no_tools() -> None:
    check = drive(reflexion(START), [said("", LOOK), said("This."), GOOD]).requests[2]
    assert check.tools == ()
    assert [message.role for message in check.messages] == ["system", "user", "assistant", "user"]
    assert "look says so" in texts(check)[1]
    assert texts(check)[2:] == ["This.", CRITIQUE]


def test_the_next_attempt_remembers_answer_and_critique_of_those_before() -> None:
    played = drive(reflexion(START), [said("This."), BAD, said("That."), said("Hm."), said("Those."), GOOD])
    assert played.answer == "Those."
    assert [(note.attempt, note.accepted) for note in played.notes if isinstance(note, AttemptCritiqued)] == [
        (1, False),
        (2, False),
        (3, True),
    ]
    second, third = played.requests[2], played.requests[4]
    assert second.tools == START.tools
    assert texts(second)[-1].startswith("Which?\n\n")
    assert "Attempt 1 answered: This.\nCritique: VERDICT: REVISE\nYou did not look." in texts(second)[-1]
    assert "Attempt 1 answered: This." in texts(third)[-1]
    assert "Attempt 2 answered: That.\nCritique: Hm." in texts(third)[-1]


def test_after_three_attempts_the_last_is_the_answer_and_says_that_it_did_not_pass() -> None:
    played = drive(reflexion(START), [said("a"), BAD, said("b"), BAD, said("c"), said("who knows")])
    assert played.answer == f"c{NOT_PASSED}"
    assert len(played.notes) == 3


def test_the_note_is_in_the_language_of_the_run() -> None:
    start = msgspec.structs.replace(with_steps(2), locale="zh")
    assert drive(reflexion(start), [said("a"), BAD]).answer == f"a\n\n{text('check_not_passed', 'zh')}"


def test_an_empty_attempt_is_not_checked_by_the_model_and_never_the_answer_where_there_is_another() -> None:
    played = drive(reflexion(START), [said("a"), BAD, said(" "), said("\n")])
    assert played.answer == f"a{NOT_PASSED}"
    assert [note.critique for note in played.notes if isinstance(note, AttemptCritiqued)][1:] == [EMPTY] * 2
    assert drive(reflexion(START), [said("")] * 3).answer == ""


@pytest.mark.parametrize(
    ("steps", "attempts"),
    [(2, [1]), (3, [2]), (4, [3]), (6, [3, 1]), (8, [3, 3]), (9, [3, 3]), (12, [3, 3, 3]), (30, [9, 9, 9])],
)
def test_the_steps_are_shared_so_that_every_attempt_can_be_checked(steps: int, attempts: list[int]) -> None:
    answers = [
        answer
        for made in attempts
        for answer in (*(said("", LOOK) for _ in range(made - 1)), said("Hm."), BAD)
    ]
    played = drive(reflexion(with_steps(steps)), answers)
    assert played.answer == f"Hm.{NOT_PASSED}"
    assert len(played.notes) == len(attempts)
    assert len(played.requests) <= steps
    last = [request for request in played.requests if texts(request)[-1].endswith(LAST_CALL)]
    assert len(last) == sum(made > 1 for made in attempts)


def test_a_model_that_fails_at_the_check_leaves_the_answer_and_says_so() -> None:
    played = drive(reflexion(START), [said("This."), failed()])
    assert played.answer == f"This.\n\n{text('check_not_made')}"
    (note,) = played.notes
    assert note == AttemptCritiqued(1, False, "The check could not be made: The model is away.")


def test_a_model_that_fails_at_a_later_attempt_leaves_the_answer_before() -> None:
    assert drive(reflexion(START), [said("This."), BAD, failed()]).answer == f"This.{NOT_PASSED}"
    assert drive(reflexion(START), [said(""), failed()]).error is not None


def test_what_people_say_is_known_to_every_attempt_after_it() -> None:
    played = drive(
        reflexion(START),
        [said("", LOOK), said("This."), BAD, said("That."), GOOD],
        heard={0: ("In red.",), 2: ("And cheap.",)},
    )
    assert texts(played.requests[1])[-1] == "In red."
    second = played.requests[3]
    assert second.messages[1].role == "user"
    assert texts(second)[1].startswith("Which?\n\nIn red.\n\nAnd cheap.\n\n")
    assert "In red." in texts(played.requests[2])[1]


def test_what_is_said_before_an_attempt_ends_is_answered_within_it() -> None:
    played = drive(reflexion(START), [said("This."), said("That."), GOOD], heard={0: ("In red.",)})
    assert played.requests[1].messages[-2:] == (
        ChatMessage("assistant", "This."),
        ChatMessage("user", "In red."),
    )
    assert played.answer == "That."


@pytest.mark.parametrize(
    ("critique", "accepted"),
    [
        ("VERDICT: ACCEPT", True),
        ("verdict: accepted", True),
        ("**VERDICT:** ACCEPT\nWell done, not too long.", True),
        ("VERDICT: ACCEPT - no issues", True),
        ('{"verdict": "accept"}', True),
        ("My verdict follows.\nVERDICT: ACCEPT", True),
        ("VERDICT: REVISE\nDo not accept this.", False),
        ("VERDICT: REJECT", False),
        ("VERDICT: ACCEPT or VERDICT: REVISE", False),
        ("VERDICT: ACCEPT\nVERDICT: REVISE", False),
        ("VERDICT: not accept", False),
        ("VERDICT: I can't accept it", False),
        ("VERDICT: unacceptable", False),
        ("ACCEPT", False),
        ("The answer is good.", False),
        ("VERDICT:", False),
        ("", False),
        ("verdict" * 10_000, False),
    ],
)
def test_only_a_clear_verdict_accepts(critique: str, accepted: bool) -> None:
    assert is_accepted(critique) is accepted
