"""Plans as models write them: what is read, what is refused and with which words."""

import re
from contextlib import suppress
from typing import Any

import msgspec
import pytest

from app.core.messages import ToolSpec
from app.core.plans import (
    EVIDENCE_CHARS_MAX,
    LLM,
    STEPS_MAX,
    InvalidPlan,
    Step,
    fill_in,
    parse_plan,
)
from tests.support.modes import spec

TOOLS = (
    spec("search", "query"),
    spec("calculator", "expression"),
    ToolSpec("clock", "", {"type": "object", "properties": {"timezone": {"type": "string"}}}),
    spec("move", "x", "y", type="number"),
    ToolSpec("odd", "", {"properties": [], "required": "x"}),
)


def parsed(text: str, llm_steps_max: int = 5) -> tuple[Step, ...]:
    return parse_plan(text, TOOLS, llm_steps_max=llm_steps_max)


def one(text: str) -> tuple[str, Any]:
    (step,) = parsed(text)
    return step.tool, msgspec.json.decode(step.arguments)


def test_a_plan_is_read_with_its_texts_and_what_each_step_needs() -> None:
    steps = parsed(
        "Plan: find the height\n"
        '#E1 = search[{"query": "height of Everest [m]"}]\n\n'
        "Plan: ask which unit\n"
        "#E2 = LLM[Is this in metres: #E1?]\n"
        "Plan: double it\n"
        '#E3 = calculator[{"expression": "#E1 * 2 #E1", "note": ["#E2"]}]\n'
    )
    assert [(s.name, s.tool, s.text, s.needs) for s in steps] == [
        ("#E1", "search", "find the height", frozenset()),
        ("#E2", LLM, "ask which unit", frozenset({1})),
        ("#E3", "calculator", "double it", frozenset({1, 2})),
    ]
    assert steps[0].arguments == '{"query":"height of Everest [m]"}'
    assert steps[1].arguments == "Is this in metres: #E1?"


@pytest.mark.parametrize(
    "line",
    [
        '#E1 = calculator[{"expression": "2+2"}]',
        '#E1=calculator[{"expression":"2+2"}]',
        '**#E1** = **calculator**[{"expression": "2+2"}]',
        '`#E1 = calculator[{"expression": "2+2"}]`',
        '```\n#E1 = Calculator({"expression": "2+2"})\n```',
        "#e1 = calculator[2+2]",
        '# E1 = calculator["2+2"]',
        "1. Plan: add #E1 = calculator[`2+2`]",
        '#E1 = calculator[{"expression": "2+2"}',
        "#E1 = calculator[2+2\nand so on",
        '#E1 = calculator[\n  {"expression":\n "2+2"}\n]',
    ],
)
def test_the_same_step_is_read_in_whatever_dress_it_comes(line: str) -> None:
    assert one(f"Here you are:\n{line}") == ("calculator", {"expression": "2+2"})


@pytest.mark.parametrize(
    ("line", "arguments"),
    [
        ('#E1 = search[{"query": "a ] b } \\" c"}]', {"query": 'a ] b } " c'}),
        ("#E1 = search[lists [1] and [2]]", {"query": "lists [1] and [2]"}),
        ('#E1 = search[5" pipe]', {"query": '5" pipe'}),
        ("#E1 = clock[]", {}),
        ("#E1 = clock[Asia/Tokyo]", {"timezone": "Asia/Tokyo"}),
        ("#E1 = search[東京の天気]", {"query": "東京の天気"}),
    ],
)
def test_arguments_are_read_to_the_bracket_that_closes_them(line: str, arguments: Any) -> None:
    assert one(line)[1] == arguments


@pytest.mark.parametrize(
    ("before", "text"),
    [
        ("Plan: find it\n", "find it"),
        ("Plan 1: find it\n", "find it"),
        ("**Plan:** find it\n", "find it"),
        ("- Step 2. find it\n", "find it"),
        ("1. find it\n", "find it"),
        ("I begin.\nPlan: find\nit\n", "find it"),
        ("3 apples\n", "3 apples"),
        ("planning ahead\n", "planning ahead"),
        ("", ""),
    ],
)
def test_the_text_of_a_step_is_what_stands_before_it(before: str, text: str) -> None:
    assert parsed(f"{before}#E1 = clock[]")[0].text == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("I would look it up.", "There is no step in it"),
        ("", "There is no step in it"),
        ("#E1 = teleport[home]", "There is no tool 'teleport'. Tools are: search, calculator, clock"),
        ("#E1 = search[#E2]\n#E2 = search[x]", "#E1 uses #E2, which does not stand before it"),
        ("#E1 = search[what #E1 says]", "#E1 uses #E1, which does not stand before it"),
        ("#E1 = search[x]\n#E1 = search[y]", "#E1 is there twice"),
        ("#E1 = move[three]", "The arguments of #E1 have to be one JSON object in brackets, not: three"),
        ('#E1 = search[{"query": x}]', "The arguments of #E1 have to be one JSON object"),
        ("#E1 = LLM[ ]", "#E1 asks nothing"),
        ("#E1 = odd[x]", "The arguments of #E1 have to be one JSON object"),
        ("#E1 = search[x]\n" + "#E2 = search[" + "#E1 " * 60 + "]", "more than 50 times"),
        ("\n".join(f"#E{n} = LLM[{n}]" for n in range(1, 8)), "7 steps with LLM; at most 5"),
        ("\n".join(f"#E{n} = clock[]" for n in range(1, STEPS_MAX + 2)), f"more than {STEPS_MAX} steps"),
    ],
)
def test_a_plan_that_cannot_be_carried_out_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(InvalidPlan, match=re.escape(reason)):
        parsed(text)


@pytest.mark.parametrize("text", ["NO TOOL NEEDED", "No tools needed.", "**no tool is needed**"])
def test_a_plan_may_say_that_no_tool_is_needed(text: str) -> None:
    assert parsed(text) == ()


def test_steps_win_over_the_remark_that_no_tool_is_needed() -> None:
    assert len(parsed("If no tool is needed say so.\n#E1 = clock[]")) == 1


def test_evidence_takes_the_place_of_its_name_and_of_nothing_longer() -> None:
    steps = parsed(
        '#E1 = search[a]\n#E12 = search[b]\n#E3 = search[{"query": "#E1, #E12, #E1x, #e1"}]\n#E4 = LLM[#E12!]'
    )
    found = {1: "one", 12: 'two "quoted"', 3: "three"}
    assert msgspec.json.decode(fill_in(steps[2], found, TOOLS)) == {"query": 'one, two "quoted", onex, one'}
    assert fill_in(steps[3], found, TOOLS) == 'two "quoted"!'


def test_what_a_result_says_is_never_filled_in_itself() -> None:
    steps = parsed("#E1 = search[a]\n#E2 = search[b]\n#E3 = search[#E1]")
    filled = fill_in(steps[2], {1: "see #E2", 2: "secret"}, TOOLS)
    assert msgspec.json.decode(filled) == {"query": "see #E2"}


def test_a_number_is_handed_on_as_a_number_where_the_tool_asks_for_one() -> None:
    steps = parsed('#E1 = search[a]\n#E2 = move[{"x": #E1, "y": "#E1 m"}]\n#E3 = search[#E1]')
    assert msgspec.json.decode(fill_in(steps[1], {1: "7.5"}, TOOLS)) == {"x": 7.5, "y": "7.5 m"}
    assert msgspec.json.decode(fill_in(steps[1], {1: "far"}, TOOLS)) == {"x": "far", "y": "far m"}
    assert msgspec.json.decode(fill_in(steps[2], {1: "7.5"}, TOOLS)) == {"query": "7.5"}


def test_long_evidence_is_cut_in_arguments() -> None:
    steps = parsed("#E1 = search[a]\n#E2 = LLM[#E1]")
    assert len(fill_in(steps[1], {1: "x" * 99_999}, TOOLS)) == EVIDENCE_CHARS_MAX


@pytest.mark.timeout(20)
@pytest.mark.parametrize("filler", [" ", "*", "#E1 ", "#E1 = ", "#E1 = a[", "plan ", "[", '"', "1.", "\n"])
def test_a_long_senseless_text_is_read_in_no_time(filler: str) -> None:
    # Guards the patterns: with two runs of blanks side by side in one, the time is the square of the length.
    for text in (filler * 200_000, f"#E1{filler * 200_000}", f"{filler * 200_000}#E1 = clock[]"):
        with suppress(InvalidPlan):
            parsed(text)
