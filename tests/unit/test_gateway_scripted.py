"""The scripted model: a function of the request alone."""

import asyncio
import json
from contextlib import aclosing
from pathlib import Path

import pytest

from app.core.messages import ChatMessage, ModelAnswer, ModelRequest, ToolCall, ToolSpec
from app.gateway.model import ModelError, ModelEvent, TextDelta, ThinkingDelta
from app.gateway.scripted import Answer, Rule, ScriptedCall, ScriptedError, ScriptedModel, When


def request(*messages: ChatMessage) -> ModelRequest:
    return ModelRequest(messages)


def user(text: str) -> ChatMessage:
    return ChatMessage("user", text)


async def events_of(model: ScriptedModel, asked: ModelRequest) -> list[ModelEvent]:
    return [event async for event in model.stream(asked)]


async def answer_of(model: ScriptedModel, asked: ModelRequest) -> ModelAnswer:
    last = (await events_of(model, asked))[-1]
    assert isinstance(last, ModelAnswer)
    return last


async def test_without_a_rule_it_echoes() -> None:
    model = ScriptedModel()
    events = await events_of(model, request(user("hello")))
    deltas = [event.text for event in events if isinstance(event, TextDelta)]
    assert "".join(deltas) == "You said: hello"
    assert len(deltas) == 4
    assert isinstance(events[-1], ModelAnswer)
    assert events[-1].text == "You said: hello"
    assert events[-1].usage.total_tokens == 2 + 4
    assert list(model.requests) == [request(user("hello"))]


async def test_the_first_rule_that_fits_wins() -> None:
    rules = [
        Rule(Answer(text="poet"), When(system_contains="POET")),
        Rule(Answer(text="fox"), When(last_user_contains="Fox")),
        Rule(Answer(text="other")),
    ]
    model = ScriptedModel(rules)
    assert (
        await answer_of(model, request(ChatMessage("system", "You are a poet."), user("a fox")))
    ).text == "poet"
    assert (await answer_of(model, request(user("a fox")))).text == "fox"
    assert (await answer_of(model, request(user("a hen")))).text == "other"


async def test_tool_rounds_are_told_by_step_and_role_and_ids_are_stable() -> None:
    rules = [
        Rule(Answer(text="It is {last_tool}."), When(last_role="tool")),
        Rule(Answer(tool_calls=(ScriptedCall("calculator", {"expression": "{last_user}"}),)), When(step=0)),
    ]
    first = await answer_of(ScriptedModel(rules), request(user('say "hi"')))
    assert first.tool_calls == (ToolCall("call_1", "calculator", '{"expression":"say \\"hi\\""}'),)
    assert first.finish_reason == "tool_calls"
    history = (user("6*7"), ChatMessage("assistant", tool_calls=first.tool_calls))
    result = ChatMessage("tool", "42", tool_call_id="call_1")
    assert (await answer_of(ScriptedModel(rules), request(*history, result))).text == "It is 42."
    again = await answer_of(ScriptedModel(rules), request(*history, result, user("more")))
    assert again.tool_calls[0].id == "call_2"


async def test_texts_in_order() -> None:
    model = ScriptedModel.of("one", "two")
    asked = user("go")
    turn = ChatMessage("assistant", "x")
    assert (await answer_of(model, request(asked))).text == "one"
    assert (await answer_of(model, request(asked, turn))).text == "two"
    assert (await answer_of(model, request(asked, turn, turn))).text == "two"


async def test_a_value_is_not_expanded_again() -> None:
    model = ScriptedModel([Rule(Answer(text="{last_user}|{last_tool}|{other}"))])
    asked = request(user("{last_tool}"), ChatMessage("tool", "{last_user}"))
    assert (await answer_of(model, asked)).text == "{last_tool}|{last_user}|{other}"


async def test_thinking_comes_first() -> None:
    model = ScriptedModel([Rule(Answer(text="ab", thinking="cd", chunk_chars=1))])
    events = await events_of(model, request(user("x")))
    assert events[:-1] == [ThinkingDelta("c"), ThinkingDelta("d"), TextDelta("a"), TextDelta("b")]


async def test_it_fails_after_the_chunks_asked_for() -> None:
    failure = ScriptedError("rate_limited", "Slow down.", transient=True)
    model = ScriptedModel([Rule(Answer(text="abcdefgh", error=failure, error_after_chunks=1))])
    events = model.stream(request(user("x")))
    assert await anext(events) == TextDelta("abcd")
    with pytest.raises(ModelError, match=r"Slow down\.") as caught:
        await anext(events)
    assert (caught.value.error_class, caught.value.transient) == ("rate_limited", True)


async def test_it_holds_an_answer_open_until_the_file_is_there(tmp_path: Path) -> None:
    gate = tmp_path / "go"
    rule = Rule(Answer(text="abcdefgh", wait_for_file=str(gate), hold_after_chunks=1))
    async with aclosing(ScriptedModel([rule]).stream(request(user("x")))) as events:
        assert await anext(events) == TextDelta("abcd")
        held = asyncio.ensure_future(anext(events))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not held.done()
        gate.touch()
        assert await held == TextDelta("efgh")


async def test_rules_can_look_at_tools_and_at_every_message() -> None:
    clock = ToolSpec("clock", "Tells the time.", {})
    rules = [
        Rule(Answer(text="seen"), When(messages_contain="EVIDENCE 7")),
        Rule(Answer(text="tools"), When(tools_contain="clock")),
        Rule(Answer(text="neither")),
    ]
    model, asked = ScriptedModel(rules), user("go")
    told = ChatMessage("tool", "There is evidence 7.", tool_call_id="c")
    assert (await answer_of(model, request(asked, told, ChatMessage("assistant")))).text == "seen"
    assert (await answer_of(model, ModelRequest((asked,), (clock,)))).text == "tools"
    assert (await answer_of(model, ModelRequest((asked,), (ToolSpec("clocks", "", {}),)))).text == "neither"


async def test_rules_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "demo.json"
    rules = [
        {
            "when": {"last_user_contains": "down"},
            "answer": {"error": {"class": "unreachable", "message": "No."}},
        },
        {"answer": {"text": "hi"}},
    ]
    file.write_text(json.dumps(rules))
    model = ScriptedModel.from_file(file)
    assert model.name == "scripted/demo"
    assert (await answer_of(model, request(user("x")))).text == "hi"
    with pytest.raises(ModelError, match="No"):
        await events_of(model, request(user("down")))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[{"answer": {"text": 3}}]', r"\$\[0\]\.answer\.text"),
        ('[{"answer": {"txt": "a"}}]', "txt"),
        ('[{"answer": {"chunk_chars": 0}}]', r"rules\[0\]\.answer\.chunk_chars is 0"),
        ("{", "not valid"),
    ],
)
def test_a_wrong_file_is_told_by_its_field(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "bad.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=words):
        ScriptedModel.from_file(file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cannot read the script .*absent\.json"):
        ScriptedModel.from_file(tmp_path / "absent.json")
