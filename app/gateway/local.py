"""A real model with no key and no network: SmolLM2-135M-Instruct by llama.cpp inside this process.

It is small: good for a short answer, for showing the whole path, and for tests; its facts are not to be
trusted. With tools on offer it first decides about one of them (see `local_tools`); after a tool result it
only answers. Where the answer has to be JSON, a grammar sees to it (see `local_shapes`).

Reading takes most of its time: on two cores about 100 tokens/s, writing 40. So a call that is asked for little also
reads little, seven tokens for each that it may write.
"""

import asyncio
import math
import os
import threading
from collections.abc import AsyncGenerator, Awaitable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager
from typing import TypeVar

import msgspec
from msgspec import UNSET

from app.core.messages import ModelAnswer, ModelRequest, ToolCall, ToolSpec, Usage
from app.core.reasons import Reason
from app.gateway import local_prompt as prompts
from app.gateway import local_shapes as shapes
from app.gateway import local_tools as narrowing
from app.gateway.local_engine import (
    CANCELLED,
    Completion,
    ContextExceeded,
    Engine,
    check_library,
    find_weights,
)
from app.gateway.model import ModelError, ModelEvent, TextDelta, ThinkingDelta

MODEL_NAME = "SmolLM2-135M-Instruct"
ANSWER_TOKENS_MAX = 512
BRIEF_TOKENS_MAX = 80
SHAPED_TOKENS_MAX = 512
READ_PER_TOKEN = 7
TEXT_CHARS_PER_TOKEN = 1.5
ARGUMENT_TOKENS_MAX = 120
THOUGHT_TOKENS_MAX = 40
DECISION_CHARS_MAX = 1000
CONTEXT_ATTEMPTS = 5
NO_ECHO: dict[str, object] = {
    "repeat_penalty": 1.05,
    "dry_multiplier": 0.8,
    "dry_allowed_length": 4,
    "dry_penalty_last_n": 512,
    "logit_bias": [[">", False], [" >", False], [">>", False]],
}
"""Left free, the model goes round in a circle, or writes down what it was just shown, quotation marks and all."""
SEED = 1
THREADS_MAX = 4
ODDS_FLOOR = 1e-6

T = TypeVar("T")


class LocalModel:
    """SmolLM2-135M in this process: at most `slots` answers at once; `queue_max` more wait, each no longer than
    `queue_timeout_seconds`.

    Each slot has `context_tokens` (the model was trained for at most 8192); the oldest messages of a longer
    conversation are left out. An answer has at most `answer_tokens` unless the request says otherwise, a brief one at
    most 80; where that is under 512, seven times as many tokens are read and no more. A whole call takes at most
    `call_timeout_seconds`. `threads` None means one less than there are cores, 1 to 4.
    The weights are loaded at the first call, or by `load()`.

    Raises `LocalModelUnavailable` if library or weights are missing.
    """

    def __init__(
        self,
        *,
        slots: int = 2,
        context_tokens: int = 4096,
        answer_tokens: int = ANSWER_TOKENS_MAX,
        threads: int | None = None,
        queue_max: int = 32,
        queue_timeout_seconds: float = 60.0,
        call_timeout_seconds: float = 300.0,
    ) -> None:
        check_library()
        self._weights = find_weights()
        self._slots = slots
        self._context_tokens = context_tokens
        self._answer_tokens = answer_tokens
        self._cores = threads or max(1, min((os.cpu_count() or 1) - 1, THREADS_MAX))
        self._queue_max = queue_max
        self._queue_timeout_seconds = queue_timeout_seconds
        self._call_timeout_seconds = call_timeout_seconds
        self._free = asyncio.Semaphore(slots)
        self._waiting = 0
        self._workers = ThreadPoolExecutor(slots, thread_name_prefix="local-model")
        self._engine: Engine | None = None
        self._loading = asyncio.Lock()
        self._closed = threading.Event()

    @property
    def name(self) -> str:
        return f"local/{MODEL_NAME}"

    def cost_usd(self, answer: ModelAnswer) -> float | None:
        """The gateway knows prices, not the model."""
        return None

    async def load(self) -> None:
        """Load the weights now (about 0.5 s on two cores, during which no Python code of the process runs)."""
        await self._loaded()

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Yield the text as it is generated, then the answer. Closing the iterator stops the generation."""
        deadline = asyncio.get_running_loop().time() + self._call_timeout_seconds
        async with self._slot():
            call, used = await self._tool_call(request, deadline)
            if call is not None:
                thinking, thought = await self._thought(request, call, deadline)
                if thinking:
                    yield ThinkingDelta(thinking)
                calls, used = (call,), used + thought
                yield ModelAnswer(self.name, "", thinking, calls, usage=used, finish_reason="tool_calls")
                return
            async with aclosing(self._answer(request, used, deadline)) as events:
                async for event in events:
                    yield event

    async def close(self) -> None:
        """Stop what is being generated, wait for its threads (under a second) and free the memory."""
        self._closed.set()
        await asyncio.to_thread(self._workers.shutdown)
        async with self._loading:
            if self._engine is not None:
                self._engine.close()
            self._engine = None

    async def _tool_call(self, request: ModelRequest, deadline: float) -> tuple[ToolCall | None, Usage]:
        if not request.tools or not request.messages or request.messages[-1].role != "user":
            return None, Usage()
        message = (request.messages[-1].content or "")[:DECISION_CHARS_MAX]
        found = narrowing.relevant_tool(request.tools, message)
        if found is None:
            return None, Usage()
        tool, share = found
        _, chosen = await self._whole(choice_body(tool, message), deadline)
        if not narrowing.wants_tool(log_odds(chosen.odds, tool.name), share):
            return None, chosen.usage
        arguments, used = await self._arguments(tool, message, deadline)
        if arguments is None:
            return None, chosen.usage + used
        made = sum(len(earlier.tool_calls) for earlier in request.messages)
        return ToolCall(f"call_{made + 1}", tool.name, arguments), chosen.usage + used

    async def _thought(self, request: ModelRequest, call: ToolCall, deadline: float) -> tuple[str, Usage]:
        """What the model says that it does with the tool it has chosen."""
        tool = next(tool for tool in request.tools if tool.name == call.name)
        message = (request.messages[-1].content or "")[:DECISION_CHARS_MAX]
        body: dict[str, object] = {
            "prompt": prompts.thought_prompt(tool, message),
            "max_tokens": THOUGHT_TOKENS_MAX,
            "stop": ["\n"],
            "temperature": 0,
        }
        text, done = await self._whole(body, deadline)
        return text.strip(), done.usage

    async def _arguments(self, tool: ToolSpec, message: str, deadline: float) -> tuple[str | None, Usage]:
        """The arguments as JSON text; None where the model did not manage a JSON object."""
        if not narrowing.properties_of(tool):
            return "{}", Usage()
        body: dict[str, object] = {
            "prompt": prompts.arguments_prompt(tool, message),
            "json_schema": narrowing.arguments_schema(tool, message),
            "max_tokens": ARGUMENT_TOKENS_MAX,
            "temperature": 0,
        }
        text, done = await self._whole(body, deadline)
        try:
            arguments = msgspec.json.decode(text, type=dict[str, object])
        except msgspec.DecodeError:
            return None, done.usage
        return msgspec.json.encode(arguments).decode(), done.usage

    async def _answer(
        self, request: ModelRequest, used: Usage, deadline: float
    ) -> AsyncGenerator[ModelEvent, None]:
        """Stream plain text; a conversation that does not fit is tried again with half as much of it."""
        size = size_of(request, self._answer_tokens, self._context_tokens)
        for attempt in range(CONTEXT_ATTEMPTS):
            body = answer_body(request, size, size.chars_max >> attempt)
            pieces: list[str] = []
            try:
                async with aclosing(self._generate(body, deadline)) as generated:
                    async for item in generated:
                        if isinstance(item, Completion):
                            text, usage = "".join(pieces), used + item.usage
                            yield ModelAnswer(self.name, text, usage=usage, finish_reason=item.finish_reason)
                            return
                        pieces.append(item)
                        yield TextDelta(item)
            except ContextExceeded:
                continue
        reason = Reason("local_context", {"tokens": self._context_tokens})
        raise ModelError("bad_request", reason, transient=False)

    async def _whole(self, body: dict[str, object], deadline: float) -> tuple[str, Completion]:
        pieces: list[str] = []
        try:
            async with aclosing(self._generate(body, deadline)) as generated:
                async for item in generated:
                    if isinstance(item, Completion):
                        return "".join(pieces), item
                    pieces.append(item)
        except ContextExceeded:
            pass
        return "", Completion("length")

    async def _generate(
        self, body: dict[str, object], deadline: float
    ) -> AsyncGenerator[str | Completion, None]:
        """The pieces of one generation, made in a thread, then how it ended. Closing it stops the thread."""
        engine = await self._loaded()
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[str | None] = asyncio.Queue()  # bounded by the tokens that `body` allows
        stopped = threading.Event()

        def on_text(text: str) -> bool:
            if text:
                loop.call_soon_threadsafe(pieces.put_nowait, text)
            return stopped.is_set() or self._closed.is_set()

        done = loop.run_in_executor(self._workers, engine.complete, body, on_text)
        done.add_done_callback(lambda _: pieces.put_nowait(None))
        try:
            while (text := await before(deadline, pieces.get())) is not None:
                yield text
            completion = await done
            if completion.finish_reason == CANCELLED:
                raise ModelError("internal", Reason("local_stopped"), transient=True)
            yield completion
        finally:
            stopped.set()
            done.add_done_callback(lambda ended: ended.cancelled() or ended.exception())

    async def _loaded(self) -> Engine:
        async with self._loading:
            if self._closed.is_set():
                raise ModelError("internal", Reason("local_stopped"), transient=True)
            if self._engine is None:
                self._engine = await asyncio.to_thread(
                    Engine,
                    self._weights,
                    slots=self._slots,
                    context_tokens=self._context_tokens,
                    threads=self._cores,
                )
            return self._engine

    @asynccontextmanager
    async def _slot(self) -> AsyncGenerator[None, None]:
        """Wait for a free place; a `ModelError` where too many wait (`rate_limited`) or it takes too long."""
        if self._free.locked() and self._waiting >= self._queue_max:
            raise ModelError("rate_limited", Reason("local_full", {"calls": self._waiting}), transient=True)
        self._waiting += 1
        try:
            async with asyncio.timeout(self._queue_timeout_seconds):
                await self._free.acquire()
        except TimeoutError as error:
            reason = Reason("local_busy", {"seconds": self._queue_timeout_seconds})
            raise ModelError("timeout", reason, transient=True) from error
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._free.release()


def choice_body(tool: ToolSpec, message: str) -> dict[str, object]:
    """Ask for the probabilities of the first token of "tool or none"; nothing is sampled from them."""
    return {
        "prompt": prompts.choice_prompt(tool, message),
        "grammar": prompts.choice_grammar(tool),
        "max_tokens": 1,
        "n_probs": 20,
        "post_sampling_probs": True,
        "temperature": 1.0,
        "top_k": 0,
        "top_p": 1.0,
        "min_p": 0.0,
        "seed": SEED,
    }


class Size(msgspec.Struct, frozen=True):
    """How much one call writes and reads. `limited`: it reads no more than what it writes is worth."""

    tokens_max: int
    chars_max: int
    text_chars_max: int
    limited: bool


def size_of(request: ModelRequest, answer_tokens: int, context_tokens: int) -> Size:
    brief = request.brief is True or request.shape is not UNSET
    asked = min(answer_tokens, BRIEF_TOKENS_MAX) if brief else answer_tokens
    written = asked if request.shape is UNSET else SHAPED_TOKENS_MAX
    tokens_max = min(request.max_tokens or written, context_tokens // 2)
    limited = asked < ANSWER_TOKENS_MAX
    room = context_tokens - tokens_max
    read = min(room, asked * READ_PER_TOKEN) if limited else room
    return Size(tokens_max, read * prompts.CHARS_PER_TOKEN, round(asked * TEXT_CHARS_PER_TOKEN), limited)


def answer_body(request: ModelRequest, size: Size, chars_max: int) -> dict[str, object]:
    messages = request.messages
    body: dict[str, object] = {
        "max_tokens": size.tokens_max,
        "temperature": request.temperature or 0,
        "seed": SEED,
    }
    if request.shape is not UNSET:
        schema = shapes.small_schema(request.shape, size.text_chars_max)
        return {**body, **NO_ECHO, "prompt": shapes.shape_prompt(messages, chars_max), "json_schema": schema}
    if not messages or messages[-1].role != "tool":
        return {
            **body,
            "prompt": prompts.chat_prompt(messages, chars_max, cut_last=size.limited),
            **NO_ECHO,
        }
    body["prompt"] = prompts.result_prompt(messages, chars_max)
    grammar = prompts.result_grammar(messages)
    return {**body, "grammar": grammar} if grammar else body


def log_odds(odds: dict[str, float], tool_name: str) -> float:
    """The model's log odds (nats) for the tool against "none"; a token that could begin either counts for both."""
    totals = {
        label: sum(p for token, p in odds.items() if token and label.startswith(token))
        for label in (tool_name, prompts.NONE)
    }
    return math.log(totals[tool_name] + ODDS_FLOOR) - math.log(totals[prompts.NONE] + ODDS_FLOOR)


async def before(deadline: float, waiting: Awaitable[T]) -> T:
    """Wait no longer than until `deadline` (the loop's clock)."""
    try:
        async with asyncio.timeout_at(deadline):
            return await waiting
    except TimeoutError as error:
        raise ModelError("timeout", Reason("local_timeout"), transient=True) from error
