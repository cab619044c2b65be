"""Providers, against small servers on loopback that speak the two wire formats."""

import json
from collections.abc import Iterable
from contextlib import aclosing
from typing import Any

import pytest

from app.core.messages import ChatMessage, ModelAnswer, ModelRequest, ToolCall, Usage
from app.gateway.model import ModelError, TextDelta, ThinkingDelta
from app.gateway.provider import Kind, Limits, ProviderModel
from tests.support.providers import (
    CALCULATOR,
    HELLO,
    KEY,
    OPENAI_TEXT,
    Exchange,
    FakeProvider,
    anthropic_block,
    anthropic_end,
    anthropic_start,
    events_of,
    failure_of,
    openai_chunk,
    openai_usage,
    provider,
)


async def test_openai_text_streams_with_usage() -> None:
    async with provider(lambda exchange: exchange.events(OPENAI_TEXT)) as (model, fake):
        events = await events_of(model)
    assert events[:-1] == [TextDelta("Hel"), TextDelta("lo.")]
    assert events[-1] == ModelAnswer("m-1-2026", "Hello.", usage=Usage(7, 3), finish_reason="stop")
    (sent,) = fake.received
    assert sent.path == "/v1/chat/completions"
    assert sent.headers["authorization"] == f"Bearer {KEY}"
    assert sent.body["model"] == "m-1"
    assert sent.body["stream"] is True


async def test_openai_tool_call_deltas_become_one_call() -> None:
    def part(**function: str) -> dict[str, Any]:
        return {"tool_calls": [{"index": 0, "function": function}]}

    first = {
        "index": 0,
        "id": "call_9",
        "type": "function",
        "function": {"name": "calculator", "arguments": ""},
    }
    blocks = (
        openai_chunk({"role": "assistant", "content": "Let me see."}),
        openai_chunk({"tool_calls": [first]}),
        openai_chunk(part(arguments='{"expres')),
        openai_chunk(part(arguments='sion": "17 * 23"}')),
        openai_chunk({}, "tool_calls"),
        openai_usage(),
        "data: [DONE]",
    )
    async with provider(lambda exchange: exchange.events(blocks)) as (model, fake):
        events = await events_of(model, ModelRequest(HELLO.messages, (CALCULATOR,)))
    answer = events[-1]
    assert isinstance(answer, ModelAnswer)
    assert events[:-1] == [TextDelta("Let me see.")]
    assert answer.tool_calls == (ToolCall("call_9", "calculator", '{"expression": "17 * 23"}'),)
    assert answer.finish_reason == "tool_calls"
    assert fake.received[0].body["tools"][0]["function"]["name"] == "calculator"


async def test_a_whole_conversation_reaches_openai_in_its_shape() -> None:
    messages = (
        ChatMessage("system", "Be brief."),
        ChatMessage("user", "6*7?"),
        ChatMessage("assistant", tool_calls=(ToolCall("call_1", "calculator", '{"expression":"6*7"}'),)),
        ChatMessage("tool", "42", tool_call_id="call_1"),
        ChatMessage("assistant", "It is 42."),
        ChatMessage("user", "Thanks"),
    )
    request = ModelRequest(messages, model="other", temperature=0.5, max_tokens=99)
    async with provider(lambda exchange: exchange.events(OPENAI_TEXT)) as (model, fake):
        await events_of(model, request)
    body = fake.received[0].body
    assert [m["role"] for m in body["messages"]] == [
        "system",
        "user",
        "assistant",
        "tool",
        "assistant",
        "user",
    ]
    assert body["messages"][2]["tool_calls"][0]["function"] == {
        "name": "calculator",
        "arguments": '{"expression":"6*7"}',
    }
    assert body["messages"][3]["tool_call_id"] == "call_1"
    assert (body["model"], body["temperature"]) == ("other", 0.5)
    assert 99 in (body.get("max_tokens"), body.get("max_completion_tokens"))


async def test_anthropic_thinking_text_and_tool_call() -> None:
    blocks = [
        anthropic_start(),
        *anthropic_block(
            0,
            {"type": "thinking", "thinking": "", "signature": ""},
            {"type": "thinking_delta", "thinking": "Hm. "},
            {"type": "thinking_delta", "thinking": "Sum."},
            {"type": "signature_delta", "signature": "s"},
        ),
        *anthropic_block(1, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Let me see."}),
        *anthropic_block(
            2,
            {"type": "tool_use", "id": "toolu_1", "name": "calculator", "input": {}},
            {"type": "input_json_delta", "partial_json": '{"expression": '},
            {"type": "input_json_delta", "partial_json": '"17 * 23"}'},
        ),
        *anthropic_end("tool_use"),
    ]
    async with provider(lambda exchange: exchange.events(blocks), "anthropic") as (model, fake):
        events = await events_of(model, ModelRequest(HELLO.messages, (CALCULATOR,)))
    assert events[:-1] == [ThinkingDelta("Hm. "), ThinkingDelta("Sum."), TextDelta("Let me see.")]
    answer = events[-1]
    assert isinstance(answer, ModelAnswer)
    assert (answer.text, answer.thinking, answer.finish_reason) == ("Let me see.", "Hm. Sum.", "tool_calls")
    assert answer.tool_calls == (ToolCall("toolu_1", "calculator", '{"expression": "17 * 23"}'),)
    assert answer.usage == Usage(7, 3)
    assert fake.received[0].path.startswith("/v1/messages")
    assert any(KEY in value for value in fake.received[0].headers.values())


async def test_a_tool_result_reaches_anthropic_in_its_shape() -> None:
    messages = (
        ChatMessage("developer", "Be brief."),
        ChatMessage("user", "6*7?"),
        ChatMessage("assistant", tool_calls=(ToolCall("call_1", "calculator", '{"expression":"6*7"}'),)),
        ChatMessage("tool", "42", tool_call_id="call_1"),
    )
    blocks = [
        anthropic_start(),
        *anthropic_block(0, {"type": "text", "text": "42"}),
        *anthropic_end("end_turn"),
    ]
    async with provider(lambda exchange: exchange.events(blocks), "anthropic") as (model, fake):
        await events_of(model, ModelRequest(messages))
    body = fake.received[0].body
    assert "Be brief." in json.dumps(body["system"])
    assert body["messages"][1]["content"][0]["input"] == {"expression": "6*7"}
    assert body["messages"][2]["content"][0]["tool_use_id"] == "call_1"


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
@pytest.mark.parametrize(
    ("status", "error_class", "transient"),
    [
        (400, "bad_request", False),
        (401, "unauthorized", False),
        (404, "not_found", False),
        (429, "rate_limited", True),
        (500, "internal", True),
        (503, "unreachable", True),
    ],
)
async def test_a_status_becomes_an_error_class(
    kind: Kind, status: int, error_class: str, transient: bool
) -> None:
    body = {"type": "error", "error": {"type": "x", "message": f"Wrong key {KEY} at http://u:p@host"}}
    async with provider(lambda exchange: exchange.fails(status, body), kind) as (model, fake):
        error = await failure_of(model)
    assert (error.error_class, error.transient) == (error_class, transient)
    assert KEY not in str(error)
    assert "http" not in str(error)
    assert len(fake.received) == 1, "a retry is the caller's decision"


async def test_an_answer_that_breaks_off_is_unreachable() -> None:
    async def drop(exchange: Exchange) -> None:
        await exchange.events(OPENAI_TEXT[:1], end=False)

    async with provider(drop) as (model, _), aclosing(model.stream(HELLO)) as events:
        assert await anext(events) == TextDelta("Hel")
        with pytest.raises(ModelError) as caught:
            await anext(events)
    assert (caught.value.error_class, caught.value.transient) == ("unreachable", True)


async def test_an_answer_without_an_end_is_not_taken_for_a_whole_one() -> None:
    async with provider(lambda exchange: exchange.events(OPENAI_TEXT[:2])) as (model, _):
        assert (await failure_of(model)).error_class == "malformed_answer"
    blocks = [anthropic_start(), *anthropic_block(0, {"type": "text", "text": "42"})]
    async with provider(lambda exchange: exchange.events(blocks), "anthropic") as (model, _):
        assert (await failure_of(model)).error_class == "malformed_answer"


async def test_nonsense_is_a_malformed_answer() -> None:
    async with provider(lambda exchange: exchange.events(["data: {oh no"])) as (model, _):
        assert (await failure_of(model)).error_class == "malformed_answer"


async def test_nobody_there_is_unreachable() -> None:
    model = ProviderModel("openai", "m", base_url="http://127.0.0.1:9/v1", api_key=KEY)
    assert (await failure_of(model)).error_class == "unreachable"
    await model.close()


async def hang(exchange: Exchange, fake: FakeProvider, blocks: Iterable[str]) -> None:
    exchange.headers["hold"] = "yes"
    await exchange.events(blocks, end=False)
    await fake.until_hung_up(exchange)


@pytest.mark.parametrize(
    ("limits", "sent", "words"),
    [
        (Limits(first_token_seconds=0.2), 0, "did not begin to answer within 0.2 s"),
        (Limits(idle_seconds=0.2), 1, "sent nothing for 0.2 s"),
        (Limits(total_seconds=0.2), 1, "took longer than 0.2 s"),
    ],
)
async def test_every_wait_has_a_limit_and_the_connection_is_closed(
    limits: Limits, sent: int, words: str
) -> None:
    async def slow(exchange: Exchange) -> None:
        await hang(exchange, fake, OPENAI_TEXT[:sent])

    async with provider(slow, limits=limits) as (model, fake):
        error = await failure_of(model)
        await fake.hung_up.wait()
    assert (error.error_class, error.transient) == ("timeout", True)
    assert words in str(error)


async def test_closing_the_stream_hangs_up() -> None:
    async def slow(exchange: Exchange) -> None:
        await hang(exchange, fake, OPENAI_TEXT[:1])

    async with provider(slow) as (model, fake):
        events = model.stream(HELLO)
        assert await anext(events) == TextDelta("Hel")
        await events.aclose()
        await fake.hung_up.wait()
