"""What a provider's failure means: class, whether to try again, and when."""

from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from pydantic_ai import exceptions as failures

from app.core.messages import ModelAnswer, ModelRequest, ToolCall
from app.core.reasons import Reason
from app.gateway.gateway import Gateway
from app.gateway.model import AttemptBegun, AttemptFailed, ModelError, TextDelta
from app.gateway.provider import Kind, Limits, ProviderModel
from app.gateway.provider_errors import RULES, STATUSES, as_model_error
from tests.support.providers import (
    CALCULATOR,
    HELLO,
    OPENAI_TEXT,
    Exchange,
    anthropic_block,
    anthropic_event,
    anthropic_start,
    events_of,
    failure_of,
    openai_chunk,
    provider,
)

KINDS = pytest.mark.parametrize("kind", ["openai", "anthropic"])


def error_body(kind: str = "x", message: str = "Oh.", code: str | None = None) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message, "code": code}}


@KINDS
@pytest.mark.parametrize(
    ("status", "error_class", "transient"),
    [
        (402, "rate_limited", False),
        (403, "unauthorized", False),
        (405, "bad_request", False),
        (408, "timeout", True),
        (409, "unreachable", True),
        (413, "bad_request", False),
        (422, "bad_request", False),
        (425, "unreachable", True),
        (502, "internal", True),
        (504, "internal", True),
        (529, "unreachable", True),
    ],
)
async def test_further_statuses(kind: Kind, status: int, error_class: str, transient: bool) -> None:
    async with provider(lambda exchange: exchange.fails(status, error_body()), kind) as (model, _):
        error = await failure_of(model)
    assert (error.error_class, error.transient) == (error_class, transient)


@pytest.mark.parametrize(
    ("kind", "status", "body", "error_class", "words"),
    [
        ("openai", 400, error_body(code="context_length_exceeded"), "bad_request", "too long"),
        (
            "openai",
            400,
            error_body(message="This model's maximum context length is 8"),
            "bad_request",
            "too long",
        ),
        (
            "anthropic",
            400,
            error_body("invalid_request_error", "prompt is too long: 9"),
            "bad_request",
            "too long",
        ),
        ("openai", 429, error_body(code="insufficient_quota"), "rate_limited", "quota"),
        (
            "anthropic",
            400,
            error_body("invalid_request_error", "credit balance is too low"),
            "rate_limited",
            "quota",
        ),
        ("openai", 404, error_body(code="model_not_found"), "not_found", "does not know this model"),
    ],
)
async def test_what_no_retry_cures(
    kind: Kind, status: int, body: dict[str, Any], error_class: str, words: str
) -> None:
    async with provider(lambda exchange: exchange.fails(status, body), kind) as (model, _):
        error = await failure_of(model)
    assert (error.error_class, error.transient) == (error_class, False)
    assert words in str(error)


@KINDS
@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry_after": "7"}, 7.0),
        ({"retry_after_ms": "250"}, 0.25),
        ({"retry_after": "soon"}, None),
        ({}, None),
    ],
)
async def test_retry_after_is_handed_on(kind: Kind, headers: dict[str, str], seconds: float | None) -> None:
    async with provider(lambda exchange: exchange.fails(429, error_body(), **headers), kind) as (model, _):
        assert (await failure_of(model)).retry_after_seconds == seconds


@KINDS
async def test_a_provider_that_says_not_to_try_again_is_believed(kind: Kind) -> None:
    headers = {"x_should_retry": "false", "retry_after": "7"}
    async with provider(lambda exchange: exchange.fails(500, error_body(), **headers), kind) as (model, _):
        error = await failure_of(model)
    assert (error.error_class, error.transient, error.retry_after_seconds) == ("internal", False, None)


async def test_an_error_within_the_stream_has_its_class() -> None:
    overloaded = anthropic_event("error", error={"type": "overloaded_error", "message": "Oh."})
    blocks = [anthropic_start(), *anthropic_block(0, {"type": "text", "text": "Half"}), overloaded]
    async with provider(lambda exchange: exchange.events(blocks), "anthropic") as (model, _):
        error = await failure_of(model)
    assert (error.error_class, error.transient) == ("unreachable", True)


async def test_a_tool_call_that_breaks_off_is_no_tool_call() -> None:
    first = {
        "index": 0,
        "id": "c",
        "type": "function",
        "function": {"name": "calculator", "arguments": '{"e'},
    }
    blocks = [openai_chunk({"role": "assistant", "tool_calls": [first]})]
    async with provider(lambda exchange: exchange.events(blocks)) as (model, _):
        error = await failure_of(model, ModelRequest(HELLO.messages, (CALCULATOR,)))
    assert (error.error_class, error.transient) == ("malformed_answer", True)


async def test_two_tool_calls_in_turns_are_two_whole_ones() -> None:
    def part(index: int, **fields: Any) -> str:
        return openai_chunk({"tool_calls": [{"index": index, **fields}]})

    blocks = (
        part(0, id="a", type="function", function={"name": "calculator", "arguments": '{"expression":'}),
        part(1, id="b", type="function", function={"name": "calculator", "arguments": "{}"}),
        part(0, function={"arguments": '"1+1"}'}),
        openai_chunk({}, "tool_calls"),
        "data: [DONE]",
    )
    async with provider(lambda exchange: exchange.events(blocks)) as (model, _):
        answer = (await events_of(model, ModelRequest(HELLO.messages, (CALCULATOR,))))[-1]
    assert isinstance(answer, ModelAnswer)
    assert answer.tool_calls == (
        ToolCall("a", "calculator", '{"expression":"1+1"}'),
        ToolCall("b", "calculator", "{}"),
    )


@pytest.mark.parametrize("phase", ["pool", "connect"])
def test_who_cannot_even_connect_in_time_is_unreachable(phase: Any) -> None:
    error = as_model_error(failures.ModelTimeoutError("m", "timed out", phase=phase))
    assert (error.error_class, error.transient) == ("unreachable", True)
    error = as_model_error(failures.ModelTimeoutError("m", "timed out", phase="read"))
    assert error.error_class == "timeout"


@pytest.mark.parametrize(
    ("error", "error_class"),
    [
        (httpx2.ReadTimeout("x"), "timeout"),
        (httpx2.RemoteProtocolError("x"), "unreachable"),
        (failures.ContentFilterError("x"), "refused"),
        (failures.ModelAPIError("m", "x"), "malformed_answer"),
        (KeyError("secret"), "internal"),
    ],
)
def test_other_failures(error: Exception, error_class: str) -> None:
    assert as_model_error(error).error_class == error_class
    assert "secret" not in str(as_model_error(error))


@pytest.mark.parametrize("key", [*(rule[2] for rule in RULES), *(status[1] for status in STATUSES.values())])
def test_every_failure_is_told_in_both_languages(key: str) -> None:
    error = ModelError("internal", Reason(key), transient=False)
    assert str(error).endswith(".")
    assert error.told("zh").endswith("。")


def test_the_limits_of_a_call_follow_from_the_whole() -> None:
    assert Limits.within(120.0) == Limits(5.0, 60.0, 60.0, 120.0)
    assert Limits.within(4.0) == Limits(2.0, 2.0, 2.0, 4.0)


def first(then: Callable[[Exchange], Any], failing: Callable[[Exchange], Any]) -> Callable[[Exchange], Any]:
    """`failing` for the first request, `then` for every further one."""
    seen: list[Exchange] = []

    def handle(exchange: Exchange) -> Any:
        seen.append(exchange)
        return failing(exchange) if len(seen) == 1 else then(exchange)

    return handle


@pytest.mark.parametrize("status", [429, 500, 503, 529])
async def test_a_gateway_tries_a_real_provider_again(status: int) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    handler = first(
        lambda exchange: exchange.events(OPENAI_TEXT),
        lambda exchange: exchange.fails(status, error_body(), retry_after="3"),
    )
    async with provider(handler) as (model, fake):
        gateway = Gateway({"m": model}, "m", retries=1, sleep=sleep, chance=lambda: 0.0)
        events = [event async for event in gateway.stream(HELLO)]
    assert [type(event) for event in events[:3]] == [AttemptBegun, AttemptFailed, AttemptBegun]
    assert events[3:5] == [TextDelta("Hel"), TextDelta("lo.")]
    assert (slept, len(fake.received)) == ([3.0], 2)


async def test_a_gateway_goes_from_one_provider_to_another() -> None:
    nobody = ProviderModel("anthropic", "gone", base_url="http://127.0.0.1:9", api_key="k")
    async with provider(lambda exchange: exchange.events(OPENAI_TEXT)) as (model, _):
        gateway = Gateway({"gone": nobody}, "gone", recovery=model)
        events = [event async for event in gateway.stream(HELLO)]
    failed = events[1]
    assert isinstance(failed, AttemptFailed)
    assert (failed.model, failed.error_class) == ("anthropic/gone", "unreachable")
    assert isinstance(events[-1], ModelAnswer)
    await nobody.close()
