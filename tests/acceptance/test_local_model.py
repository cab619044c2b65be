"""The real local model: no fake anywhere. Skipped where it is not installed."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio

from app.core.messages import ChatMessage, ModelAnswer, ModelRequest, ToolSpec
from app.core.team_plan import parse_plan
from app.core.team_shapes import plan_shape
from app.gateway.local import BRIEF_TOKENS_MAX, READ_PER_TOKEN, LocalModel
from app.gateway.local_engine import (
    CANCELLED,
    Completion,
    Engine,
    LocalModelUnavailable,
    check_library,
    find_weights,
)
from app.gateway.model import ModelError, TextDelta
from tests.support.teams import EXPERTS


def installed() -> bool:
    try:
        check_library()
        find_weights()
    except LocalModelUnavailable:
        return False
    return True


pytestmark = pytest.mark.skipif(not installed(), reason="the local model is not installed")

EXPRESSION: dict[str, object] = {"expression": {"type": "string"}}
CALCULATOR = ToolSpec(
    "calculator",
    "Evaluates an arithmetic expression.",
    {"type": "object", "properties": EXPRESSION, "required": ["expression"]},
)
CLOCK = ToolSpec("clock", "Tells the current date and time.", {"type": "object", "properties": {}})
TOOLS = (CALCULATOR, CLOCK)


@pytest_asyncio.fixture
async def model() -> AsyncGenerator[LocalModel, None]:
    model = LocalModel(context_tokens=1024)
    yield model
    await model.close()


def asked(
    text: str, *rest: ChatMessage, tools: tuple[ToolSpec, ...] = (), max_tokens: int | None = None
) -> ModelRequest:
    return ModelRequest((ChatMessage("user", text), *rest), tools, max_tokens=max_tokens)


async def answer_of(model: LocalModel, request: ModelRequest) -> ModelAnswer:
    last = [event async for event in model.stream(request)][-1]
    assert isinstance(last, ModelAnswer)
    return last


async def test_an_answer_streams(model: LocalModel) -> None:
    events = [event async for event in model.stream(asked("What is the capital of France?"))]
    deltas = [event.text for event in events if isinstance(event, TextDelta)]
    answer = events[-1]
    assert isinstance(answer, ModelAnswer)
    assert len(deltas) > 1
    assert answer.text == "".join(deltas)
    assert "Paris" in answer.text
    assert answer.finish_reason == "stop"
    assert answer.usage.prompt_tokens > 0
    assert answer.usage.completion_tokens >= len(deltas)


async def test_a_sum_goes_to_the_calculator_and_its_result_into_the_answer(model: LocalModel) -> None:
    first = await answer_of(model, asked("What is 17 * 23?", tools=TOOLS))
    (call,) = first.tool_calls
    assert (call.id, call.name, json.loads(call.arguments)) == (
        "call_1",
        "calculator",
        {"expression": "17 * 23"},
    )
    rest = (ChatMessage("assistant", tool_calls=(call,)), ChatMessage("tool", "391", tool_call_id=call.id))
    final = await answer_of(model, asked("What is 17 * 23?", *rest, tools=TOOLS))
    assert "391" in final.text
    assert not final.tool_calls


async def test_the_time_comes_from_the_clock_and_a_story_from_no_tool(model: LocalModel) -> None:
    first = await answer_of(model, asked("What time is it?", tools=TOOLS))
    assert [(call.name, call.arguments) for call in first.tool_calls] == [("clock", "{}")]
    story = await answer_of(model, asked("Tell me a short story about a fox", tools=TOOLS, max_tokens=40))
    assert not story.tool_calls
    assert "fox" in story.text.lower()


async def test_closing_the_stream_stops_the_generation(
    model: LocalModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[Completion] = []
    complete = Engine.complete

    def spy(*arguments: object) -> Completion:
        ended.append(complete(*arguments))  # pyright: ignore[reportArgumentType]
        return ended[-1]

    monkeypatch.setattr(Engine, "complete", spy)
    events = model.stream(asked("Write a very long story about a fox"))
    assert isinstance(await anext(events), TextDelta)
    await events.aclose()
    await model.close()
    assert [completion.finish_reason for completion in ended] == [CANCELLED]


async def test_close_ends_what_is_running(model: LocalModel) -> None:
    events = model.stream(asked("Write a very long story about a fox"))
    await anext(events)
    await model.close()
    with pytest.raises(ModelError, match="shut down"):
        [event async for event in events]
    with pytest.raises(ModelError, match="shut down"):
        await answer_of(model, asked("Hello"))


async def test_a_plan_of_its_shape_is_valid_whatever_the_model_makes_of_the_task(model: LocalModel) -> None:
    """Guard: the grammar of `answer_body`."""
    for task in ("Write a guide for visitors of our village.", "17 * 23, 请用中文回答"):
        messages = (ChatMessage("user", f"{task}\n\n[Plan the team's work]"),)
        answer = await answer_of(model, ModelRequest(messages, shape=plan_shape(EXPERTS)))
        plan = parse_plan(answer.text, EXPERTS)
        assert [bool(phase.depends_on) for phase in plan.phases] == [False, False, True]
        assert not plan.unknown_owners


async def test_what_is_asked_for_in_brief_is_brief_and_read_for_in_part(model: LocalModel) -> None:
    asking = (ChatMessage("user", "The weather is nice. " * 300 + "Write a long story about a fox."),)
    answer = await answer_of(model, ModelRequest(asking, brief=True))
    assert answer.usage.completion_tokens <= BRIEF_TOKENS_MAX
    assert answer.usage.prompt_tokens <= READ_PER_TOKEN * BRIEF_TOKENS_MAX


async def test_two_answers_at_once(model: LocalModel) -> None:
    questions = ("What is the capital of France?", "Who wrote Hamlet?")
    answers = await asyncio.gather(
        *(answer_of(model, asked(question, max_tokens=40)) for question in questions)
    )
    assert "Paris" in answers[0].text
    assert "Shakespeare" in answers[1].text


async def test_too_many_calls_are_refused() -> None:
    model = LocalModel(slots=1, queue_max=0, context_tokens=1024)
    first = model.stream(asked("Tell me a story"))
    await anext(first)
    with pytest.raises(ModelError, match="busy") as caught:
        await answer_of(model, asked("Hello"))
    assert (caught.value.error_class, caught.value.transient) == ("rate_limited", True)
    await first.aclose()
    assert (await answer_of(model, asked("Hello", max_tokens=20))).text
    await model.close()


async def test_a_long_conversation_loses_its_oldest_messages() -> None:
    model = LocalModel(context_tokens=512)  # what is read is all that takes time here
    old = [ChatMessage("user", "The weather is nice. " * 50) for _ in range(20)]
    request = ModelRequest((*old, ChatMessage("user", "What is the capital of France?")), max_tokens=20)
    answer = await answer_of(model, request)
    assert answer.text
    assert 256 < answer.usage.prompt_tokens < 512
    await model.close()


async def test_a_message_that_cannot_fit_is_refused(model: LocalModel) -> None:
    with pytest.raises(ModelError, match="too long for the local model, which reads 1024 tokens") as caught:
        await answer_of(model, asked("word " * 5000, tools=TOOLS))
    assert caught.value.error_class == "bad_request"


QUIET = """
import asyncio, os, signal
from app.core.messages import ChatMessage, ModelRequest
from app.gateway.local import LocalModel

def caught():
    return [line for line in open("/proc/self/status") if line.startswith("SigCgt")][0].split()[1]

def listening():
    files = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
    inodes = {os.readlink(file) for file in files if os.path.lexists(file)}
    rows = [line.split() for name in ("tcp", "tcp6") for line in list(open(f"/proc/net/{name}"))[1:]]
    return [row for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in inodes]

async def main():
    signal.signal(signal.SIGTERM, lambda *_: None)
    model = LocalModel()
    before = int(caught(), 16) & 0xFFFF
    await model.load()
    assert int(caught(), 16) & 0xFFFF == before, "llama.cpp took a signal"
    os.kill(os.getpid(), signal.SIGTERM)
    assert not listening(), listening()
    async for event in model.stream(ModelRequest((ChatMessage("user", "Hello"),), max_tokens=20)):
        pass
    print("answered", bool(event.text))
    if CLOSE:
        await model.close()
    else:
        await anext(model.stream(ModelRequest((ChatMessage("user", "Write a very long story"),))))

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("close", [True, False])
def test_it_is_silent_takes_no_signal_opens_no_port_and_ends_cleanly(close: bool) -> None:
    script = f"CLOSE = {close}\n{QUIET}"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "answered True\n", "")
