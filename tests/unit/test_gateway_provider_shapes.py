"""Answers of a given shape from providers: the schema is sent where a model is known to take one, and never in the way.

Guards: `supports_json_schema_output` of the library's profile, and the second request without a schema.
"""

import copy

import pytest

from app.core.board_answers import conclusion_shape
from app.core.messages import AnswerShape, ModelAnswer, ModelRequest
from app.core.team_shapes import plan_shape, review_shape
from app.gateway.provider import Kind
from tests.support.providers import (
    HELLO,
    OPENAI_TEXT,
    Exchange,
    anthropic_block,
    anthropic_end,
    anthropic_start,
    events_of,
    failure_of,
    provider,
)
from tests.support.teams import EXPERTS

SHAPES = (conclusion_shape(("Mo", "Ada")), plan_shape(EXPERTS), review_shape())
ANTHROPIC_TEXT = (
    anthropic_start(),
    *anthropic_block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "{}"}),
    *anthropic_end("end_turn"),
)


def shaped(shape: AnswerShape = SHAPES[0], model: str | None = None) -> ModelRequest:
    return ModelRequest(HELLO.messages, model=model, shape=shape)


async def answers(exchange: Exchange) -> None:
    await exchange.events(OPENAI_TEXT if "chat" in exchange.path else ANTHROPIC_TEXT)


async def refuses_schemas(exchange: Exchange) -> None:
    if "response_format" in exchange.body:
        await exchange.fails(400, {"error": {"message": "unknown field response_format"}})
    else:
        await answers(exchange)


@pytest.mark.parametrize("shape", SHAPES)
async def test_an_openai_model_is_sent_the_schema_and_the_shape_stays_as_it_is(shape: AnswerShape) -> None:
    before = copy.deepcopy(shape.schema)
    async with provider(answers) as (model, fake):
        events = await events_of(model, shaped(shape))
        await events_of(model)
    assert isinstance(events[-1], ModelAnswer)
    form = fake.received[0].body["response_format"]["json_schema"]
    assert form["strict"] is True
    assert form["schema"]["required"] == list(shape.schema["properties"])  # type: ignore[call-overload]
    assert form["schema"]["additionalProperties"] is False
    assert shape.schema == before
    assert "response_format" not in fake.received[1].body


@pytest.mark.parametrize(
    ("name", "sent"), [("claude-sonnet-5", True), ("m-1", False), ("claude-3-haiku", False)]
)
async def test_an_anthropic_model_is_sent_the_schema_where_it_is_known_to_take_one(
    name: str, sent: bool
) -> None:
    async with provider(answers, "anthropic") as (model, fake):
        for shape in SHAPES:
            events = await events_of(model, shaped(shape, name))
            assert isinstance(events[-1], ModelAnswer)
    assert len(fake.received) == len(SHAPES)
    assert all(("output_config" in one.body or "output_format" in one.body) is sent for one in fake.received)


async def test_an_endpoint_that_takes_no_schema_is_asked_without_and_not_sent_one_again() -> None:
    async with provider(refuses_schemas) as (model, fake):
        for _ in range(2):
            events = await events_of(model, shaped())
            assert isinstance(events[-1], ModelAnswer)
    assert ["response_format" in one.body for one in fake.received] == [True, False, False]


async def test_a_request_that_is_bad_with_or_without_a_schema_fails_as_before_and_teaches_nothing() -> None:
    async def refuses(exchange: Exchange) -> None:
        await exchange.fails(400, {"error": {"message": "too long"}})

    async with provider(refuses) as (model, fake):
        for _ in range(2):
            assert (await failure_of(model, shaped())).error_class == "bad_request"
    assert ["response_format" in one.body for one in fake.received] == [True, False] * 2


@pytest.mark.parametrize(("status", "error_class"), [(429, "rate_limited"), (401, "unauthorized")])
async def test_other_failures_are_not_asked_again(status: int, error_class: str) -> None:
    async def fails(exchange: Exchange) -> None:
        await exchange.fails(status, {"error": {"message": "no"}})

    kind: Kind = "openai"
    async with provider(fails, kind) as (model, fake):
        assert (await failure_of(model, shaped())).error_class == error_class
    assert len(fake.received) == 1
