"""`rewoo`: a plan with evidence variables, carried out, then solved."""

import msgspec
import pytest

from app.agents.rewoo import rewoo
from app.core.events import PlanDrafted, PlanStep, RunLimits
from app.core.intents import CallModel, CallTool, RunStart, ToolResult
from app.core.messages import ChatMessage, ToolCall
from app.core.texts import text
from tests.support.modes import drive, failed, said, spec, texts

TOOLS = (spec("search", "query"), spec("calculator", "expression"))
START = RunStart(
    "How far?", "Be brief.", (ChatMessage("user", "earlier"),), TOOLS, RunLimits(max_steps=8), model="big"
)
PLAN = (
    "Plan: one height\n#E1 = search[Everest]\n"
    "Plan: the other\n#E2 = search[K2]\n"
    'Plan: compare\n#E3 = calculator[{"expression": "#E1 - #E2"}]'
)


def heights(call: ToolCall) -> ToolResult:
    found = {"Everest": "8849", "K2": "8611"}
    arguments = msgspec.json.decode(call.arguments, type=dict[str, str])
    if call.name == "calculator":
        return ToolResult(call.id, call.name, f"= {arguments['expression']}")
    return ToolResult(call.id, call.name, found[arguments["query"]])


def broken(call: ToolCall) -> ToolResult:
    if call.id == "E1":
        return ToolResult(call.id, call.name, "No network.", "failed")
    return heights(call)


def test_independent_steps_run_at_once_and_the_next_with_their_evidence() -> None:
    played = drive(rewoo(START), [said(PLAN), said("238 m")], tool=heights)
    assert played.answer == "238 m"
    assert played.shape == ["model", "note", "tool+tool", "tool", "listen", "model"]
    assert played.asked[2] == (
        CallTool(ToolCall("E1", "search", '{"query":"Everest"}')),
        CallTool(ToolCall("E2", "search", '{"query":"K2"}')),
    )
    assert played.asked[3] == (CallTool(ToolCall("E3", "calculator", '{"expression":"8849 - 8611"}')),)


def test_the_plan_is_put_on_record() -> None:
    played = drive(rewoo(START), [said(PLAN), said("238 m")], tool=heights)
    assert played.notes == [
        PlanDrafted(
            (
                PlanStep("one height", "#E1", "search", '{"query":"Everest"}'),
                PlanStep("the other", "#E2", "search", '{"query":"K2"}'),
                PlanStep("compare", "#E3", "calculator", '{"expression":"#E1 - #E2"}'),
            )
        )
    ]


def test_the_planner_knows_the_tools_and_the_solver_the_evidence() -> None:
    played = drive(rewoo(START), [said(PLAN), said("238 m")], tool=heights)
    planner, solver = played.requests
    assert planner.tools == solver.tools == ()
    assert planner.model == solver.model == "big"
    assert texts(planner)[:2] == texts(solver)[:2] == ["Be brief.", "earlier"]
    assert texts(planner)[2].startswith("How far?\n\n")
    assert '- search: Does search. Arguments: {"type":"object"' in texts(planner)[2]
    assert "- LLM[question]" in texts(planner)[2]
    assert texts(solver)[2].startswith("How far?\n\n")
    assert (
        'compare\n#E3 = calculator[{"expression":"8849 - 8611"}]\nResult: = 8849 - 8611' in texts(solver)[2]
    )


def test_a_step_may_ask_the_model_itself_beside_a_tool() -> None:
    plan = "#E1 = search[Everest]\n#E2 = LLM[Is K2 high?]\n#E3 = LLM[Which is higher, #E1 or #E2?]"
    played = drive(
        rewoo(START), [said(plan), said("Quite."), said("Everest"), said("Everest.")], tool=heights
    )
    assert played.shape == ["model", "note", "tool+model", "model", "listen", "model"]
    assert isinstance(alone := played.asked[3][0], CallModel)
    assert texts(alone.request) == ["Be brief.", "Which is higher, 8849 or Quite.?"]
    assert "Result: Everest" in texts(played.requests[-1])[-1]


def test_a_plan_that_is_not_valid_is_written_once_more_with_the_reason_told() -> None:
    bad = "#E1 = teleport[home]"
    played = drive(rewoo(START), [said(bad), said(PLAN), said("238 m")], tool=heights)
    assert played.answer == "238 m"
    again = played.requests[1]
    assert again.messages[-2] == ChatMessage("assistant", bad)
    assert "There is no tool 'teleport'" in texts(again)[-1]


@pytest.mark.parametrize("garbage", ["", "I am SmolLM!", "#E1 = #E1 = [", "#E1 = search[#E9]", "x" * 50_000])
@pytest.mark.parametrize("locale", ["en", "zh"])
def test_two_plans_that_are_not_valid_end_the_run_honestly(garbage: str, locale: str) -> None:
    start = msgspec.structs.replace(START, locale=locale)
    played = drive(rewoo(start), [said(garbage)] * 2)
    assert played.error is not None
    assert played.error.error_class == "plan_invalid"
    assert str(played.error) == text("plan_invalid", start.locale)
    assert (played.calls, played.notes) == ([], [])


def test_where_no_tool_is_needed_the_question_is_answered_as_it_is() -> None:
    played = drive(rewoo(START), [said("NO TOOL NEEDED"), said("Far.")])
    assert played.answer == "Far."
    assert played.notes == []
    assert texts(played.requests[1]) == ["Be brief.", "earlier", "How far?"]


def test_what_needs_a_failed_step_is_left_out_and_the_solver_is_told() -> None:
    plan = f"{PLAN}\nPlan: say it\n#E4 = LLM[Say #E3]\n#E5 = search[K2]"
    played = drive(rewoo(START), [said(plan), said("I could not find out.")], tool=broken)
    assert [call.id for call in played.calls] == ["E1", "E2", "E5"]
    assert played.answer == "I could not find out."
    told = texts(played.requests[-1])[-1]
    assert '#E1 = search[{"query":"Everest"}]\nFailed: No network.' in told
    assert '#E3 = calculator[{"expression":"#E1 - #E2"}]\nFailed: Not carried out, since #E1 failed.' in told
    assert "Failed: Not carried out, since #E3 failed." in told
    assert "Result: 8611" in told


@pytest.mark.parametrize("answer", [failed(), said("  ")])
def test_a_model_that_fails_within_the_plan_is_evidence_that_failed(answer: object) -> None:
    played = drive(rewoo(START), [said("#E1 = LLM[Hm?]"), answer, said("Unknown.")])  # type: ignore[list-item]
    assert played.answer == "Unknown."
    assert "Failed: The model" in texts(played.requests[-1])[-1]


def test_what_people_say_meanwhile_is_told_to_the_solver() -> None:
    played = drive(rewoo(START), [said(PLAN), said("238 m")], tool=heights, heard={0: ("In feet!",)})
    assert texts(played.requests[-1])[-1].endswith("\n\nIn feet!")


def test_the_model_is_never_sent_an_empty_question() -> None:
    played = drive(
        rewoo(START),
        [said("#E1 = search[x]\n#E2 = LLM[#E1]"), said("Hm."), said("Nothing found.")],
        tool=lambda call: ToolResult(call.id, call.name, ""),
    )
    assert texts(played.requests[1])[-1] == "(nothing)"


@pytest.mark.parametrize(("steps", "llm_steps"), [(3, 0), (4, 1), (8, 5)])
def test_the_steps_leave_room_for_the_answer(steps: int, llm_steps: int) -> None:
    start = msgspec.structs.replace(START, limits=RunLimits(max_steps=steps))
    too_many = "\n".join(f"#E{n} = LLM[{n}]" for n in range(llm_steps + 1))
    played = drive(rewoo(start), [said(too_many), said(too_many)])
    assert played.error is not None
    enough = f"{PLAN}\n" + "\n".join(f"#E{10 + n} = LLM[{n}]" for n in range(llm_steps))
    answers = [said("?"), said(enough), *(said("x") for _ in range(llm_steps)), said("End.")]
    played = drive(rewoo(start), answers, tool=heights)
    assert played.answer == "End."
    assert len(played.requests) == steps
    assert ("- LLM[" in texts(played.requests[0])[-1]) is bool(llm_steps)


def test_with_two_steps_there_is_one_try_at_a_plan() -> None:
    start = msgspec.structs.replace(START, limits=RunLimits(max_steps=2))
    assert drive(rewoo(start), [said(PLAN), said("238 m")], tool=heights).answer == "238 m"
    assert drive(rewoo(start), [said("?")]).error is not None


def test_more_steps_than_may_run_at_once_run_in_turn() -> None:
    plan = "\n".join(f"#E{n} = search[K2]" for n in range(1, 21))
    played = drive(rewoo(START), [said(plan), said("Done.")], tool=heights)
    assert [len(asked) for asked in played.asked] == [1, 1, 16, 4, 1, 1]
