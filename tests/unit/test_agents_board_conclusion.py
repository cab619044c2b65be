"""`board`: how a meeting ends. Outcomes in, intents out."""

from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from app.agents.board import (
    CONCLUSION_CALLS_MAX,
)
from app.core.board_answers import Conclusion, conclusion_shape
from app.core.events import (
    BoardConcluded,
    Dissent,
    ExpertSilent,
    ExpertSpoke,
    InterventionMinuted,
    RoundSummarized,
    Vote,
)
from app.core.intents import CallModel, ModelFailure
from app.core.messages import ChatMessage
from app.core.texts import text
from tests.support.boards import (
    AWAY,
    BUDGET,
    CONCLUSION,
    NAMES,
    START,
    concluded,
    hold,
    shown,
    speak,
    unless,
)


def test_the_conclusion_is_on_record_with_names_as_the_cards_have_them() -> None:
    held = hold(START, speak)
    assert concluded(held) == BoardConcluded(
        "Oslo was weighed.",
        "Move in May.",
        3,
        ("It is cold.",),
        (Dissent("It costs too much.", ("Ben", "Cyd")),),
        stopped_by="rounds",
    )


def test_the_answer_is_markdown_in_english() -> None:
    assert hold(START, speak).answer == (
        "## Summary\n\nOslo was weighed.\n\n## Decision advice\n\nMove in May.\n\n## Consensus\n\n- It is cold.\n\n"
        "## Dissent\n\n- It costs too much. (Ben, Cyd)\n\n"
        "**Rounds: 3.** The meeting ended because all rounds were held."
    )


def test_the_answer_is_markdown_in_chinese() -> None:
    conclusion = {
        **CONCLUSION,
        "dissent_points": [],
        "votes": [{"expert": "Ada", "vote": "同意", "reason": "便宜"}],
    }
    start = msgspec.structs.replace(START, locale="zh")
    held = hold(start, unless({"mo 3 conclusion": msgspec.json.encode(conclusion).decode()}))
    assert held.answer == (
        "## 总结\n\nOslo was weighed.\n\n## 决策建议\n\nMove in May.\n\n## 共识\n\n- It is cold.\n\n"
        "## 分歧\n\n无。\n\n## 投票\n\n- Ada: 同意 (便宜)\n\n**轮数：3。** 所有轮次已完成，会议结束。"
    )


def test_a_budget_used_up_in_a_speech_keeps_it_and_concludes_without_another_call() -> None:
    spent = ModelFailure("budget_exceeded", "The task used its budget.", "Half a")
    held = hold(START, unless({"cyd 2 speech": spent}), heard={10: ("Hello?",)})
    assert held.order[-1] == "cyd 2 speech"
    assert held.of(ExpertSpoke)[-1] == ExpertSpoke("cyd", "Half a", 2, interrupted=True)
    assert concluded(held) == BoardConcluded(
        "Summary of 1.", text("board_unstructured"), 2, stopped_by="budget"
    )
    assert (held.answer or "").endswith(f"**Rounds: 2.** {text('board_stopped_budget')}")
    assert held.of(InterventionMinuted) == [], "what nobody can take up is left for a task of its own"


@pytest.mark.parametrize("locale", ["en", "zh"])
def test_a_budget_used_up_at_once_is_concluded_honestly(locale: str) -> None:
    start = msgspec.structs.replace(START, locale=locale)
    held = hold(start, lambda _: BUDGET)
    assert held.order == ["mo 1 speech"]
    assert held.of(ExpertSilent) == [ExpertSilent("mo", 1, "budget_exceeded", "The task used its budget.")]
    assert concluded(held).summary == text("board_no_summary", start.locale)
    assert (concluded(held).total_rounds, concluded(held).stopped_by) == (0, "budget")


def test_a_budget_used_up_in_a_summary_keeps_what_there_is_of_it() -> None:
    spent = ModelFailure("budget_exceeded", "Spent.", "So far we\nCONSENSUS: YES")
    held = hold(START, unless({"mo 2 summary": spent}))
    assert held.order[-1] == "mo 2 summary"
    assert held.of(RoundSummarized)[-1] == RoundSummarized("mo", "So far we", 2, consensus=False)
    assert (concluded(held).summary, concluded(held).stopped_by) == ("So far we", "budget")


@pytest.mark.parametrize("tries", [1, 2])
def test_a_budget_used_up_in_the_conclusion_is_the_stop_rule(tries: int) -> None:
    answers = iter(["What?"] * (tries - 1) + [BUDGET])
    held = hold(START, lambda call: next(answers) if call.purpose == "conclusion" else speak(call))
    assert held.order[-tries:] == ["mo 3 conclusion"] * tries
    assert concluded(held) == BoardConcluded(
        "Summary of 3.", text("board_unstructured"), 3, stopped_by="budget"
    )


def test_a_malformed_conclusion_is_asked_for_again_with_what_is_wrong() -> None:
    good = speak(CallModel(hold(START, speak).calls[0].request, purpose="conclusion"))
    answers = iter(['{"summary": "x"}', "", f"```json\n{good}\n```\nThat is it."])
    held = hold(START, lambda call: next(answers) if call.purpose == "conclusion" else speak(call))
    first, second, third = held.calls[-CONCLUSION_CALLS_MAX:]
    assert [len(call.request.messages) for call in (first, second, third)] == [2, 4, 2]
    assert [message.role for message in second.request.messages] == ["system", "user", "assistant", "user"]
    assert second.request.messages[2] == ChatMessage("assistant", '{"summary": "x"}')
    assert "missing required field `decision_advice`" in (second.request.messages[3].content or "")
    assert "There is no JSON object in it." in shown(third)
    assert concluded(held).decision_advice == "Move in May."


def test_the_schema_in_the_prompt_is_that_of_the_conclusion_with_the_names_of_those_present() -> None:
    shape = conclusion_shape(NAMES)
    schema = msgspec.json.encode(shape.schema).decode()
    properties = msgspec.json.decode(schema)["properties"]
    assert tuple(properties) == Conclusion.__struct_fields__
    assert tuple(properties["dissent_points"]["items"]["properties"]) == Dissent.__struct_fields__
    assert tuple(properties["votes"]["items"]["properties"]) == Vote.__struct_fields__
    assert properties["votes"]["items"]["properties"]["expert"] == {"enum": list(NAMES)}
    call = hold(START, speak).calls[-1]
    assert schema in shown(call)
    assert call.request.shape == shape


def test_only_a_conclusion_has_a_shape_and_all_else_is_asked_for_in_brief() -> None:
    calls = hold(START, speak).calls
    assert [call.request.shape is UNSET for call in calls] == [call.purpose != "conclusion" for call in calls]
    assert all(call.request.brief is True for call in calls[:-1])


def test_every_conclusion_of_the_small_shape_is_one_that_holds() -> None:
    """The small schema allows the same fields, and no vote."""
    properties: dict[str, Any] = conclusion_shape(NAMES).small["properties"]  # type: ignore[assignment]
    assert tuple(properties) == Conclusion.__struct_fields__
    assert properties["votes"]["maxItems"] == 0
    who = properties["dissent_points"]["items"]["properties"]["who"]["items"]["enum"]
    assert who == list(NAMES)


def changed(**fields: object) -> str:
    return msgspec.json.encode({**CONCLUSION, **fields}).decode()


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        ("We should move.", "no JSON object"),
        (f"{changed()} {changed()}", "2 JSON objects"),
        (changed()[:-1], "not valid"),
        (changed(summary=" "), '"summary" is empty'),
        (changed(decision_advice=""), '"decision_advice" is empty'),
        (changed(consensus_points="all"), "consensus_points"),
        (changed(dissent_points=["cost"]), "dissent_points[0]"),
        (changed(dissent_points=[{"point": "cost", "who": []}]), "does not say who"),
        (changed(dissent_points=[{"point": "cost", "who": ["Zoe"]}]), "'Zoe'"),
        (changed(dissent_points=[{"point": " ", "who": ["Ada"]}]), '"point" is empty'),
        (changed(votes=[{"expert": "Everyone", "vote": "yes"}]), "Present are: Mo, Ada, Ben, Cyd, Dee, Eli."),
        (changed(votes=[{"expert": "Ada", "vote": ""}]), '"vote" is empty'),
        (changed(votes=[{"expert": "Ada", "vote": "no"}, {"expert": "ada", "vote": "yes"}]), "twice"),
        (changed(consensus_points=["x"] * 31), "consensus_points"),
    ],
)
def test_a_conclusion_that_stays_malformed_is_not_guessed(answer: str, word: str) -> None:
    held = hold(START, lambda call: answer if call.purpose == "conclusion" else speak(call))
    assert held.order[-CONCLUSION_CALLS_MAX:] == ["mo 3 conclusion"] * CONCLUSION_CALLS_MAX
    assert held.order[-CONCLUSION_CALLS_MAX - 1] == "mo 3 summary"
    assert word in (held.calls[-1].request.messages[-1].content or "")
    assert concluded(held) == BoardConcluded("Summary of 3.", text("board_unstructured"), 3)
    assert text("board_unstructured") in (held.answer or "")


@pytest.mark.parametrize("failure", [AWAY, ModelFailure("interrupted", "Cut.", changed())])
def test_a_conclusion_that_fails_or_is_cut_short_is_left_at_the_last_summary(failure: ModelFailure) -> None:
    held = hold(START, unless({"mo 3 conclusion": failure, "mo 3 summary": AWAY}))
    assert held.order.count("mo 3 conclusion") == 1
    assert concluded(held) == BoardConcluded("Summary of 2.", text("board_unstructured"), 3)


def test_votes_are_kept_with_their_reasons_and_no_text_breaks_its_line() -> None:
    votes = [
        {"expert": "mo", "vote": "yes\n## no", "reason": "  why\nnot\u0000 "},
        {"expert": "Ada", "vote": "no"},
    ]
    held = hold(START, unless({"mo 3 conclusion": changed(votes=votes, consensus_points=["a\n# b", " "])}))
    assert concluded(held).votes == (Vote("Mo", "yes ## no", "why not\ufffd"), Vote("Ada", "no"))
    assert concluded(held).consensus_points == ("a # b",)
    assert "## Votes\n\n- Mo: yes ## no (why not\ufffd)\n- Ada: no\n" in (held.answer or "")
