"""Tools of MCP servers, over stdio and streamable HTTP: connected in the background, again and again.

A server that is down fails nothing but the calls of its own tools. Each server has a task of its own, because the
library's cancel scopes have to be left by the task that entered them:

    connecting ──► up: its tools are offered ──► lost (it died, a call broke, its session is gone)
        ▲                                          │
        └──── back-off, cut short by a call ◄──────┘
"""

import asyncio
import contextlib
import os
import random
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, Protocol, Self, TextIO, cast

import httpx2
import msgspec
import structlog
from mcp.client import Client, IncomingMessage
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp.shared.message import SessionMessage
from mcp.types import CONNECTION_CLOSED, ToolListChangedNotification
from mcp.types import Tool as McpTool

from app.core.events import Effect
from app.core.messages import ToolSpec
from app.core.texts import Locale, text
from app.tools.keeper import kept
from app.tools.mcp_words import content_of, tool_name
from app.tools.tool import Tool, ToolContext, ToolError

CONNECT_SECONDS = 20.0
REACH_SECONDS = 10.0
CLOSE_SECONDS = 10.0
RETRY_SECONDS = (0.5, 60.0)
TOOLS_MAX = 200
PAGES_MAX = 20
MARGIN_SECONDS = 5.0
KEEPER_GRACE_SECONDS = 1.0  # below the 2 s after which the library kills the keeper
_SAID_BYTES = 4_096

logger = structlog.get_logger(__name__)

Offer = Callable[[str, Sequence[Tool]], None]
"""Takes a source's name and its tools, all of them: those that it offered before are gone."""


class ServerSettings(Protocol):
    """`app.settings.McpServer`, which says more."""

    @property
    def name(self) -> str: ...
    @property
    def command(self) -> str: ...
    @property
    def args(self) -> tuple[str, ...]: ...
    @property
    def env(self) -> Mapping[str, str]: ...
    @property
    def url(self) -> str: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def effects(self) -> Mapping[str, Effect]: ...
    @property
    def confirm(self) -> tuple[str, ...]: ...
    @property
    def long_running(self) -> tuple[str, ...]: ...
    @property
    def timeout_seconds(self) -> float: ...


class McpServers:
    """All configured servers, each under a name of its own (`Settings` sees to it)."""

    def __init__(self, servers: Sequence[ServerSettings], *, locale: Locale = "en") -> None:
        self._servers = {settings.name: _Server(settings, locale) for settings in servers}
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, offer: Offer, *, wait_seconds: float = 5.0) -> None:
        """Connect to all. Waits until each has been tried once, at most `wait_seconds`; never fails for a server."""
        self._tasks = [
            asyncio.create_task(server.serve(offer), name=f"mcp {name}")
            for name, server in self._servers.items()
        ]
        tried = [asyncio.ensure_future(server.settled.wait()) for server in self._servers.values()]
        if tried:
            _, slow = await asyncio.wait(tried, timeout=wait_seconds)
            for waiting in slow:
                waiting.cancel()

    async def arrival(self, name: str) -> None:
        """Wait, at most 10 s, for the first list of the server whose tool this may be: a run may be older than we."""
        for server in self._servers.values():
            if name.startswith(tool_name(server.name, "")):
                await server.reach(REACH_SECONDS)

    async def close(self) -> None:
        """Disconnect from all, and end those that were started here; at most 10 s."""
        for server, task in zip(self._servers.values(), self._tasks, strict=False):
            server.stop()
            if server.connecting:
                task.cancel()
        if self._tasks:
            _, slow = await asyncio.wait(self._tasks, timeout=CLOSE_SECONDS)
            for task in slow:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)


class _Server:
    def __init__(self, settings: ServerSettings, locale: Locale) -> None:
        self.name = settings.name
        self.settled = asyncio.Event()  # the last attempt to connect has ended, well or not
        self.connecting = False
        self._settings = settings
        self._locale: Locale = locale
        self._client: Client | None = None
        self._wake = asyncio.Event()
        self._stopping = self._lost = self._changed = False
        self._trouble = "it has not answered yet"

    def stop(self) -> None:
        self._stopping = True
        self._wake.set()

    async def reach(self, seconds: float) -> Client | None:
        """The connection. While there is none, the next attempt is made now and its end awaited for so long."""
        if self._client is None and not self._stopping:
            self.settled.clear()
            self._wake.set()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.settled.wait(), seconds)
        return self._client

    async def serve(self, offer: Offer) -> None:
        shortest, longest = RETRY_SECONDS
        pause = shortest
        while not self._stopping:
            self._lost = self._changed = False
            was_up, self.connecting = False, True
            try:
                async with self._connected(offer) as client:
                    self.connecting = False
                    self._client, was_up, pause = client, True, shortest
                    self.settled.set()
                    await self._stay(client, offer)
            except Exception as error:  # whatever it is, the next attempt may go better
                self._trouble = _innermost(error)
                logger.warning("mcp_server_down", server=self.name, trouble=self._trouble)
            finally:
                self._client, self.connecting = None, False
            if not was_up:
                self.settled.set()
            if not self._stopping:
                await self._rest(pause * random.uniform(0.5, 1.0))
                pause = min(2 * pause, longest)

    async def call(self, tool: str, arguments: dict[str, Any]) -> str:
        """Raises `ToolError`."""
        limit_seconds = self._settings.timeout_seconds
        try:
            async with asyncio.timeout(limit_seconds):
                return await self._call(tool, arguments, again=True)
        except TimeoutError:
            raise ToolError(
                f"The MCP server {self.name} gave no result of {tool} within {limit_seconds:g} seconds."
            ) from None

    async def _call(self, tool: str, arguments: dict[str, Any], *, again: bool) -> str:
        client = await self.reach(REACH_SECONDS)
        if client is None:
            raise ToolError(f"The MCP server {self.name} cannot be reached at the moment: {self._trouble}.")
        try:
            result = await client.call_tool(tool, arguments)
        except MCPError as error:
            if error.message == "Session terminated" and again:  # refused, so nothing was done
                self._lose(client)
                return await self._call(tool, arguments, again=False)
            if error.code == CONNECTION_CLOSED:
                self._lose(client)
                raise ToolError(
                    f"The connection to the MCP server {self.name} broke while {tool} was called; "
                    "it is not known whether the call took effect."
                ) from None
            raise ToolError(
                f"The MCP server {self.name} refused the call of {tool}: {error.message}"
            ) from None
        except (RuntimeError, ValueError) as error:  # not in the schema that the tool itself declares
            raise ToolError(
                f"What {tool} of the MCP server {self.name} answered is not valid: {error}"
            ) from None
        if result.is_error:
            raise ToolError(content_of(result))
        return content_of(result)

    @asynccontextmanager
    async def _connected(self, offer: Offer) -> AsyncGenerator[Client]:
        """A connection whose tools have been offered; at most 20 s for both."""
        async with AsyncExitStack() as stack:
            async with asyncio.timeout(CONNECT_SECONDS):
                client = Client(
                    _Watched(await self._transport(stack), self._notice_end),
                    message_handler=self._notice,
                    cache=None,
                )
                await stack.enter_async_context(client)
                await self._list(client, offer)
            yield client

    async def _transport(self, stack: AsyncExitStack) -> AbstractAsyncContextManager[Any]:
        settings = self._settings
        if settings.url:
            # Answers may be long in coming; calls have a limit of their own.
            timeout = httpx2.Timeout(30.0, read=max(300.0, settings.timeout_seconds))
            client = httpx2.AsyncClient(headers=dict(settings.headers), timeout=timeout)
            return streamable_http_client(settings.url, http_client=await stack.enter_async_context(client))
        program, *arguments = kept([settings.command, *settings.args], grace_seconds=KEEPER_GRACE_SECONDS)
        said = await stack.enter_async_context(_said_by(self.name))
        parameters = StdioServerParameters(command=program, args=arguments, env=dict(settings.env))
        return stdio_client(parameters, errlog=said)

    async def _stay(self, client: Client, offer: Offer) -> None:
        """Until the connection is lost or not wanted any more."""
        listening = asyncio.create_task(_listen(client))
        try:
            while not (self._lost or self._stopping):
                if self._changed:
                    self._changed = False
                    await asyncio.wait_for(self._list(client, offer), CONNECT_SECONDS)
                await self._wake.wait()
                self._wake.clear()
        finally:
            listening.cancel()
            await asyncio.wait({listening}, timeout=KEEPER_GRACE_SECONDS)
        if self._lost:
            self._trouble = "the connection was lost"
            logger.warning("mcp_server_lost", server=self.name)

    async def _list(self, client: Client, offer: Offer) -> None:
        found: list[McpTool] = []
        cursor: str | None = None
        for _ in range(PAGES_MAX):
            page = await client.list_tools(cursor=cursor)
            found += page.tools
            cursor = page.next_cursor
            if cursor is None or len(found) >= TOOLS_MAX:
                break
        tools = {tool.name: self._tool(tool) for tool in found[:TOOLS_MAX]}
        offer(f"MCP server {self.name}", list(tools.values()))
        logger.info("mcp_server_up", server=self.name, tools=len(tools))

    def _tool(self, listed: McpTool) -> Tool:
        settings, name = self._settings, listed.name

        async def call(arguments: dict[str, Any], _: ToolContext) -> str:
            return await self.call(name, arguments)

        return Tool(
            ToolSpec(
                tool_name(self.name, name), listed.description or listed.title or name, listed.input_schema
            ),
            settings.effects.get(name, "once"),
            settings.timeout_seconds + MARGIN_SECONDS,
            call,
            confirm="*" in settings.confirm or name in settings.confirm,
            long_running=name in settings.long_running,
            reason=text("confirm_mcp", self._locale, server=self.name),
            command=lambda arguments: f"{self.name}: {name} {msgspec.json.encode(arguments).decode()}",
        )

    async def _notice(self, message: IncomingMessage) -> None:
        if isinstance(message, ToolListChangedNotification):
            self._changed = True
            self._wake.set()

    def _notice_end(self) -> None:
        self._lost = True
        self._client = None
        self._wake.set()

    def _lose(self, client: Client) -> None:
        if self._client is client:
            self._notice_end()

    async def _rest(self, seconds: float) -> None:
        """Until the time is over or somebody calls."""
        self._wake.clear()
        if not self._stopping:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), seconds)
            self._wake.clear()


class _Watched:
    """A transport that tells when the other side has closed the stream, which the library keeps to itself."""

    def __init__(self, transport: AbstractAsyncContextManager[Any], ended: Callable[[], None]) -> None:
        self._transport = transport
        self._ended = ended

    async def __aenter__(self) -> Any:
        read, write = await self._transport.__aenter__()
        return _WatchedStream(read, self._ended), write

    async def __aexit__(self, *exception: Any) -> bool | None:
        return await self._transport.__aexit__(*exception)


class _WatchedStream:
    def __init__(self, stream: Any, ended: Callable[[], None]) -> None:
        self._stream = stream
        self._ended = ended

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def __aenter__(self) -> Self:
        await self._stream.__aenter__()
        return self

    async def __aexit__(self, *exception: Any) -> bool | None:
        return await self._stream.__aexit__(*exception)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await anext(self._stream)
        except StopAsyncIteration:
            self._ended()
            raise


async def _listen(client: Client) -> None:
    """Have a server of the 2026 protocol say when its tools change; `_notice` is told. Older ones say so unasked."""
    with contextlib.suppress(Exception):  # it need not be able to
        async with client.listen(tools_list_changed=True) as changes:
            async for _ in changes:
                pass


@asynccontextmanager
async def _said_by(server: str) -> AsyncGenerator[TextIO]:
    """A file for the server's standard error; what comes there goes to our log."""
    reading, writing = os.pipe()
    reader = asyncio.StreamReader()
    with os.fdopen(reading, "rb") as end, os.fdopen(writing, "w") as file:
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), end
        )

        async def pass_on() -> None:
            while data := await reader.read(_SAID_BYTES):
                logger.info("mcp_server_said", server=server, said=data.decode("utf-8", "replace").rstrip())

        passing = asyncio.create_task(pass_on())
        try:
            yield file
        finally:
            file.close()
            await asyncio.wait({passing}, timeout=KEEPER_GRACE_SECONDS)  # for its last words
            passing.cancel()
            transport.close()


def _innermost(error: BaseException) -> str:
    """In words, without the groups that task groups wrap around it."""
    if isinstance(error, BaseExceptionGroup):
        return _innermost(cast("BaseExceptionGroup[BaseException]", error).exceptions[0])
    if isinstance(error, TimeoutError):
        return f"it did not answer within {CONNECT_SECONDS:g} seconds"
    return str(error) or type(error).__name__
