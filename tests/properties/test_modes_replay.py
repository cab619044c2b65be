"""Whatever models, tools and people say: a mode sent the same again asks for the same again, and comes to an end."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import msgspec
from hypothesis import event, given, settings
from hypothesis import strategies as st

from app.agents.modes import MODES
from app.agents.plan_exec import ADVANCE, default_phases
from app.core.acting import PARALLEL_CALLS_MAX
from app.core.events import PhasePolicy, RunLimits, ToolRef
from app.core.intents import (
    CallModel,
    CallTool,
    Heard,
    Intent,
    Listen,
    ModelFailure,
    Noted,
    Outcome,
    RunStart,
    TakeMinute,
    ToolResult,
)
from app.core.messages import ChatMessage, ModelAnswer, ModelRequest, ToolCall, storable
from app.core.plans import STEPS_MAX
from tests.support.modes import spec
from tests.support.replays import check_replay, played

TOOLS = (spec("search", "query"), spec("calculator", "expression"), spec("move", "x", "y", type="number"))
REFS = tuple(ToolRef(tool, effect, 1.0) for tool, effect in zip(TOOLS, ("pure", "pure", "once"), strict=True))
NAMES = [tool.name for tool in TOOLS]

garbage = st.text(max_size=20).map(storable)  # as whatever carries out intents hands it on
arguments = st.sampled_from(
    ["{}", "", "{", "[1]", "null", '{"query": "a"}', r'{"summary": "a\u0000b"}', '{"reason": 7}', "[" * 5_000]
)
plan_arguments = st.one_of(
    garbage, st.sampled_from(['{"query": "#E1"}', "#E1 and #E2", '{"x": #E1, "y": "#E2"}', '{"x": 1, "y":'])
)
plan_lines = st.builds(
    "Plan: {}\n#E{} = {}[{}]".format,
    garbage,
    st.integers(1, 4),
    st.sampled_from([*NAMES, "LLM", "teleport"]),
    plan_arguments,
)
good_plans = st.integers(1, STEPS_MAX).map(
    lambda n: "\n".join(f"#E{i} = search[{f'#E{i // 2}' if i > 1 else 'a'}]" for i in range(1, n + 1))
)
texts = st.one_of(
    garbage,
    st.lists(plan_lines, max_size=5).map("\n".join),
    good_plans,
    st.just("#E1 = search[x]\n#E2 = LLM[#E1]\n#E3 = LLM[#E2]"),
    st.sampled_from(["NO TOOL NEEDED", "VERDICT: ACCEPT", "VERDICT: REVISE\nLook again.", "An answer.", " "]),
)
called = st.lists(
    st.tuples(st.sampled_from([*NAMES, ADVANCE, "teleport", ""]), arguments),
    min_size=1,
    max_size=PARALLEL_CALLS_MAX + 2,
)
answers = st.one_of(
    texts.map(lambda text: ModelAnswer("m", text)),
    st.builds(
        lambda text, calls: ModelAnswer(
            "m", text, tool_calls=tuple(ToolCall(f"c{n}", *call) for n, call in enumerate(calls))
        ),
        texts,
        called,
    ),
)
# Failures are rare, or most runs would end at once.
model_outcomes = st.integers(0, 9).flatmap(
    lambda n: answers if n else st.just(ModelFailure("timeout", "Too slow."))
)
tool_contents = st.tuples(st.one_of(garbage, st.just("42")), st.sampled_from([None, None, None, "failed"]))
spoken = st.one_of(st.just(()), st.just(()), st.lists(garbage, max_size=2).map(tuple))
messages = st.lists(
    st.builds(ChatMessage, st.sampled_from(["user", "assistant"]), st.text(min_size=1, max_size=9)),
    max_size=4,
).map(tuple)
phases = st.one_of(
    st.just(()),
    st.just(default_phases(REFS)),
    st.lists(
        st.builds(PhasePolicy, garbage, st.one_of(st.none(), st.lists(st.sampled_from(NAMES)).map(tuple))),
        min_size=1,
        max_size=5,
    ).map(tuple),
)
starts = st.builds(
    RunStart,
    st.text(min_size=1, max_size=20),
    garbage,
    messages,
    st.sampled_from([(), TOOLS]),
    st.builds(RunLimits, st.integers(1, 14)),
    phases=phases,
    locale=st.sampled_from(["en", "zh"]),
    summary=garbage,
    unsummarized=messages,
    unsummarized_until=st.integers(1, 99),
)


def outcome_of(intent: Intent, data: st.DataObject) -> Outcome:
    match intent:
        case CallModel():
            return data.draw(model_outcomes)
        case CallTool(call):
            return ToolResult(call.id, call.name, *data.draw(tool_contents))
        case TakeMinute():
            return Noted()
        case Listen():
            return Heard(data.draw(spoken))


@settings(max_examples=400, deadline=None)
@given(
    name=st.sampled_from(sorted(MODES.keys() - {"operation", "board", "team_collab"})),
    start=starts,
    data=st.data(),
)
def test_a_replay_of_any_prefix_asks_for_the_same_and_every_mode_ends(
    name: str, start: RunStart, data: st.DataObject
) -> None:
    steps_max = start.limits.max_steps
    run = MODES[name].run
    tuples_max = (PARALLEL_CALLS_MAX + 6) * steps_max + STEPS_MAX + 2
    pairs, end = played(run(start), lambda intent: outcome_of(intent, data), tuples_max)
    event(f"{name}: {end[0]}")
    check_replay(lambda: run(start), pairs, end, data.draw(st.integers(0, len(pairs))))

    intents = [intent for asked, _ in pairs for intent in asked]
    assert sum(isinstance(intent, CallModel) for intent in intents) <= steps_max
    assert sum(isinstance(intent, CallTool) for intent in intents) <= PARALLEL_CALLS_MAX * steps_max
    for intent in intents:
        match intent:
            case CallModel(request):
                check_request(request)
            case TakeMinute(note):
                assert not any("\0" in text for text in strings(msgspec.to_builtins(note)))
            case CallTool() | Listen():
                pass
    check_listening([asked for asked, _ in pairs])


def check_listening(asked: list[tuple[Intent, ...]]) -> None:
    """To listen stands alone and comes once between two steps: a log knows what was heard by the step before."""
    listens = [any(isinstance(intent, Listen) for intent in intents) for intents in asked]
    assert all(len(intents) == 1 for intents, listening in zip(asked, listens, strict=True) if listening)
    assert not any(one and other for one, other in pairwise(listens))
    assert all(asked)


def check_request(request: ModelRequest) -> None:
    """What providers refuse is not sent: calls without results, tool messages without tools, messages with nothing."""
    assert request.messages[-1].role in ("user", "tool")
    position = 0
    while position < len(request.messages):
        message = request.messages[position]
        position += 1
        assert message.content or message.tool_calls or message.role == "tool"
        assert message.role != "tool", "a result without its call"
        if message.tool_calls:
            assert request.tools
            told = request.messages[position : position + len(message.tool_calls)]
            assert [one.tool_call_id for one in told] == [call.id for call in message.tool_calls]
            assert all(one.role == "tool" for one in told)
            position += len(told)


def strings(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for key, one in value.items():
                yield from strings(key)
                yield from strings(one)
        case list() | tuple():
            for one in value:
                yield from strings(one)
        case _:
            pass
