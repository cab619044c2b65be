"""Models behind an API: OpenAI-compatible servers and Anthropic, through the model classes of pydantic-ai.

pydantic-ai knows the wire formats; here are only the mapping of messages, the time limits and the error classes.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from typing import Literal, Self, TypeVar

import httpx2
import msgspec
from msgspec import UNSET
from pydantic_ai import messages as wire
from pydantic_ai.direct import model_request_stream
from pydantic_ai.models import Model as WireModel
from pydantic_ai.models import ModelRequestParameters, StreamedResponse
from pydantic_ai.output import OutputObjectDefinition
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import ToolDefinition

from app.core.messages import AnswerShape, ModelAnswer, ModelRequest, ToolCall, ToolSpec, Usage
from app.core.reasons import Reason
from app.gateway.model import ModelError, ModelEvent, TextDelta, ThinkingDelta
from app.gateway.provider_errors import as_model_error
from app.gateway.provider_messages import to_wire

Kind = Literal["openai", "anthropic"]
BASE_URLS: dict[Kind, str] = {
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com",
}
FINISH_REASONS = {"tool_call": "tool_calls"}
SHAPE_REFUSED = ("bad_request", "internal")
NO_KEY = "none"
CONNECTIONS_MAX = 100
CONNECT_SECONDS = 5.0

WireModels = Callable[[str], WireModel]
T = TypeVar("T")


class Limits(msgspec.Struct, frozen=True):
    """How long to wait, in seconds: for a connection, for the first token, between tokens, for the whole call."""

    connect_seconds: float = CONNECT_SECONDS
    first_token_seconds: float = 60.0
    idle_seconds: float = 60.0
    total_seconds: float = 600.0

    @classmethod
    def within(cls, total_seconds: float) -> Self:
        """The limits of a call that may take this long: half of it for the first token, and for any silence."""
        half = total_seconds / 2
        return cls(min(CONNECT_SECONDS, half), half, half, total_seconds)


class Timer:
    """Says how long the next wait may take; one for each call."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._started_at = asyncio.get_running_loop().time()
        self._answering = False

    def first_token_seen(self) -> None:
        self._answering = True

    async def bound(self, waiting: Awaitable[T]) -> T:
        """Wait at most until the first limit that applies; a `timeout` names the limit that passed."""
        now = asyncio.get_running_loop().time()
        total_at = self._started_at + self._limits.total_seconds
        if self._answering:
            seconds, key = self._limits.idle_seconds, "model_silent"
            at = now + seconds
        else:
            seconds, key = self._limits.first_token_seconds, "model_not_begun"
            at = self._started_at + seconds
        if total_at < at:
            at, seconds, key = total_at, self._limits.total_seconds, "model_took_long"
        scope = asyncio.timeout_at(at)
        try:
            async with scope:
                return await waiting
        except TimeoutError:
            if not scope.expired():
                raise
            raise ModelError("timeout", Reason(key, {"seconds": seconds}), transient=True) from None


class ProviderModel:
    """A model of a provider. It does not try again what failed: a retry is the caller's decision.

    `base_url` None means the provider's own; `api_key` None sends a placeholder (local servers take it). Neither is
    read from the environment. `ModelRequest.model` names another model of the same provider.
    """

    def __init__(
        self,
        kind: Kind,
        model: str,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._kind: Kind = kind
        self._model = model
        self._limits = limits or Limits()
        self._shapeless: set[str] = set()
        self._http = httpx2.AsyncClient(
            timeout=httpx2.Timeout(self._limits.total_seconds, connect=self._limits.connect_seconds),
            limits=httpx2.Limits(max_connections=CONNECTIONS_MAX),
        )
        make = openai_models if kind == "openai" else anthropic_models
        self._wire_model = make(base_url or BASE_URLS[kind], api_key or NO_KEY, self._http)

    @property
    def name(self) -> str:
        return f"{self._kind}/{self._model}"

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Yield the deltas and the answer. Closing the iterator closes the connection.

        Where the library knows that a model takes a JSON schema for its answer, it is sent one. An endpoint that
        refuses it is asked once more without one: the messages ask for it too.
        """
        timer = Timer(self._limits)
        name = request.model or self._model
        wire_model = self._wire_model(name)
        plain, shaped = wire_parameters(request), None
        if request.shape is not UNSET and name not in self._shapeless:
            shaped = shaped_parameters(plain, request.shape, wire_model)
        began = False
        try:
            async with aclosing(self._answer(request, wire_model, shaped or plain, timer)) as events:
                async for event in events:
                    began = True
                    yield event
            return
        except ModelError as error:
            if shaped is None or began or error.error_class not in SHAPE_REFUSED:
                raise
        async with aclosing(self._answer(request, wire_model, plain, timer)) as events:
            async for event in events:
                yield event
        self._shapeless.add(name)

    async def _answer(
        self, request: ModelRequest, model: WireModel, parameters: ModelRequestParameters, timer: Timer
    ) -> AsyncGenerator[ModelEvent, None]:
        try:
            async with AsyncExitStack() as stack:
                opening = model_request_stream(
                    model,
                    to_wire(request.messages),
                    model_settings=wire_settings(request),
                    model_request_parameters=parameters,
                    instrument=False,
                )
                stream = await timer.bound(stack.enter_async_context(opening))
                events = aiter(stream)
                while (event := await timer.bound(anext(events, None))) is not None:
                    timer.first_token_seen()
                    delta = to_delta(event)
                    if delta is not None:
                        yield delta
                yield to_answer(stream, request.model or self._model)
        except ModelError:
            raise
        except Exception as error:  # every failure of a provider becomes a ModelError
            raise as_model_error(error) from None

    def cost_usd(self, answer: ModelAnswer) -> float | None:
        """The gateway knows prices, not the model."""
        return None

    async def load(self) -> None:
        """Nothing to load."""

    async def close(self) -> None:
        """Close all connections; calls that are running fail as `unreachable`."""
        await self._http.aclose()


def openai_models(base_url: str, api_key: str, http: httpx2.AsyncClient) -> WireModels:
    """Models by name of an OpenAI-compatible server (chat completions). Importing the library takes about 1 s."""
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.profiles.openai import OpenAIModelProfile
    from pydantic_ai.providers.openai import OpenAIProvider

    provider = OpenAIProvider(base_url=base_url, api_key=api_key, http_client=http)
    # An answer that was cut short must not pass for a whole one.
    profile = OpenAIModelProfile(openai_chat_streaming_requires_finish_reason=True)
    return lambda model: OpenAIChatModel(model, provider=provider, profile=profile)


def anthropic_models(base_url: str, api_key: str, http: httpx2.AsyncClient) -> WireModels:
    """Models by name of Anthropic (messages). Importing the library takes about 2 s."""
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.providers.anthropic import AnthropicProvider

    provider = AnthropicProvider(base_url=base_url, api_key=api_key, http_client=http)
    return lambda model: AnthropicModel(model, provider=provider)


def wire_settings(request: ModelRequest) -> ModelSettings:
    settings = ModelSettings(max_retries=0)
    if request.temperature is not None:
        settings["temperature"] = request.temperature
    if request.max_tokens is not None:
        settings["max_tokens"] = request.max_tokens
    return settings


def wire_parameters(request: ModelRequest) -> ModelRequestParameters:
    return ModelRequestParameters(function_tools=[wire_tool(tool) for tool in request.tools])


def shaped_parameters(
    plain: ModelRequestParameters, shape: AnswerShape, model: WireModel
) -> ModelRequestParameters | None:
    """The parameters with the schema of the answer; None where the model is not known to take one."""
    if not model.profile.get("supports_json_schema_output", False):
        return None
    answer = OutputObjectDefinition(shape.schema, name="answer", strict=True)
    return replace(plain, output_mode="native", output_object=answer)


def wire_tool(tool: ToolSpec) -> ToolDefinition:
    return ToolDefinition(
        name=tool.name, description=tool.description, parameters_json_schema=tool.parameters
    )


def to_delta(event: wire.ModelResponseStreamEvent) -> ModelEvent | None:
    """The text or thinking in a stream event; None for tool calls (they come whole, in the answer) and marks."""
    match event:
        case wire.PartStartEvent(part=wire.TextPart(content=text)) if text:
            return TextDelta(text)
        case wire.PartStartEvent(part=wire.ThinkingPart(content=text)) if text:
            return ThinkingDelta(text)
        case wire.PartDeltaEvent(delta=wire.TextPartDelta(content_delta=text)) if text:
            return TextDelta(text)
        case wire.PartDeltaEvent(delta=wire.ThinkingPartDelta(content_delta=str(text))) if text:
            return ThinkingDelta(text)
        case _:
            return None


def to_answer(stream: StreamedResponse, model: str) -> ModelAnswer:
    """The whole answer, when the stream has ended; an answer with no finish reason was broken off."""
    response = stream.get()
    if response.finish_reason is None:
        raise ModelError("malformed_answer", Reason("model_broke_off"), transient=True)
    if response.finish_reason == "content_filter":
        raise ModelError("refused", Reason("model_refused"), transient=False)
    calls = tuple(
        ToolCall(part.tool_call_id, part.tool_name, arguments_text(part)) for part in response.tool_calls
    )
    return ModelAnswer(
        model=response.model_name or model,
        text="".join(part.content for part in response.parts if isinstance(part, wire.TextPart)),
        thinking="".join(part.content for part in response.parts if isinstance(part, wire.ThinkingPart)),
        tool_calls=calls,
        usage=Usage(response.usage.input_tokens, response.usage.output_tokens),
        finish_reason=FINISH_REASONS.get(response.finish_reason, response.finish_reason),
    )


def arguments_text(part: wire.ToolCallPart) -> str:
    """The arguments exactly as the model wrote them, where the library kept them as text."""
    return part.args if isinstance(part.args, str) and part.args else part.args_as_json_str()
