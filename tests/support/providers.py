"""Fake providers: small servers on loopback that speak the two wire formats."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from app.core.messages import ChatMessage, ModelRequest, ToolSpec
from app.gateway.model import ModelError, ModelEvent
from app.gateway.provider import Kind, Limits, ProviderModel

KEY = "sk-very-secret"
HELLO = ModelRequest((ChatMessage("user", "hello"),))
CALCULATOR = ToolSpec(
    "calculator",
    "Evaluates.",
    {"type": "object", "properties": {"expression": {"type": "string"}}, "required": ["expression"]},
)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"

Handler = Callable[["Exchange"], Coroutine[Any, Any, None]]


class Exchange:
    """One HTTP request that a fake provider received, and the means to answer it."""

    def __init__(
        self, path: str, headers: dict[str, str], body: dict[str, Any], out: asyncio.StreamWriter
    ) -> None:
        self.path = path
        self.headers = headers
        self.body = body
        self.out = out

    async def events(self, blocks: Iterable[str], *, end: bool = True) -> None:
        """Send server-sent events, each a chunk of its own."""
        self.out.write(HEAD)
        for block in blocks:
            data = f"{block}\n\n".encode()
            self.out.write(b"%x\r\n%s\r\n" % (len(data), data))
            await self.out.drain()
        if end:
            self.out.write(b"0\r\n\r\n")

    async def fails(self, status: int, body: dict[str, Any], **headers: str) -> None:
        """Underscores in the names of headers stand for hyphens."""
        data = json.dumps(body).encode()
        sent = {"content-type": "application/json", "content-length": str(len(data)), **headers}
        lines = [f"HTTP/1.1 {status} Oh", *(f"{k.replace('_', '-')}: {v}" for k, v in sent.items())]
        self.out.write("\r\n".join([*lines, "", ""]).encode() + data)


class FakeProvider:
    """A server that answers every request by `handler` and keeps what it received."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self.received: list[Exchange] = []
        self.hung_up = asyncio.Event()
        self.base_url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in head[1:] if line)}
        body = json.loads(await reader.readexactly(int(headers["content-length"])))
        exchange = Exchange(head[0].split()[1], headers, body, writer)
        self.received.append(exchange)
        await self._handler(exchange)
        await writer.drain()
        if exchange.headers.get("hold"):
            return
        writer.close()

    async def until_hung_up(self, exchange: Exchange) -> None:
        """Wait until the client has closed the connection."""
        while not exchange.out.is_closing() and not self.hung_up.is_set():
            exchange.out.write(b"3\r\n:\n\n\r\n")
            try:
                await exchange.out.drain()
            except ConnectionError:
                break
            await asyncio.sleep(0)
        self.hung_up.set()


@asynccontextmanager
async def provider(
    handler: Handler, kind: Kind = "openai", limits: Limits | None = None
) -> AsyncGenerator[tuple[ProviderModel, FakeProvider], None]:
    fake = FakeProvider(handler)
    server = await asyncio.start_server(fake.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    suffix = "/v1" if kind == "openai" else ""
    model = ProviderModel(
        kind, "m-1", base_url=f"http://127.0.0.1:{port}{suffix}", api_key=KEY, limits=limits
    )
    try:
        yield model, fake
    finally:
        await model.close()
        fake.hung_up.set()
        server.close()
        await server.wait_closed()


async def events_of(model: ProviderModel, request: ModelRequest = HELLO) -> list[ModelEvent]:
    return [event async for event in model.stream(request)]


async def failure_of(model: ProviderModel, request: ModelRequest = HELLO) -> ModelError:
    with pytest.raises(ModelError) as caught:
        await events_of(model, request)
    return caught.value


def openai_chunk(delta: dict[str, Any], finish: str | None = None) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    chunk = {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m-1-2026",
        "choices": [choice],
    }
    return "data: " + json.dumps(chunk)


def openai_usage() -> str:
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m-1-2026", "choices": []}
    return "data: " + json.dumps({**chunk, "usage": usage})


OPENAI_TEXT = (
    openai_chunk({"role": "assistant", "content": "Hel"}),
    openai_chunk({"content": "lo."}),
    openai_chunk({}, "stop"),
    openai_usage(),
    "data: [DONE]",
)


def anthropic_event(kind: str, **fields: Any) -> str:
    return f"event: {kind}\ndata: " + json.dumps({"type": kind, **fields})


def anthropic_start() -> str:
    message = {
        "id": "msg",
        "type": "message",
        "role": "assistant",
        "model": "m-1-2026",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 7, "output_tokens": 1},
    }
    return anthropic_event("message_start", message=message)


def anthropic_block(index: int, block: dict[str, Any], *deltas: dict[str, Any]) -> list[str]:
    return [
        anthropic_event("content_block_start", index=index, content_block=block),
        *(anthropic_event("content_block_delta", index=index, delta=delta) for delta in deltas),
        anthropic_event("content_block_stop", index=index),
    ]


def anthropic_end(reason: str) -> list[str]:
    delta = {"stop_reason": reason, "stop_sequence": None}
    return [
        anthropic_event("message_delta", delta=delta, usage={"output_tokens": 3}),
        anthropic_event("message_stop"),
    ]
