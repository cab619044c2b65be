"""MCP servers, real ones over stdio and HTTP: their tools, their deaths, and that they end with us."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import pytest
import pytest_asyncio

from app.core.intents import ToolResult
from app.core.messages import ToolCall
from app.settings import McpServer
from app.tools import mcp
from app.tools.mcp import McpServers
from app.tools.tool import Tool, ToolContext
from app.tools.toolbox import ToolBox

CONTEXT = ToolContext("ana", "c", UUID(int=1), "key", lambda: datetime.now(UTC))
MODULE = "tests.support.mcp_server"
ROOT = str(Path(__file__).parents[2])
LONG = 60.0
IN_THE_LOOP_OF_THE_BOX = pytest.mark.asyncio(loop_scope="module")
ALL = ["add", "die", "fail", "figures", "grow", "picture", "pid", "wait"]

Call = Callable[..., Awaitable[ToolResult]]


def stdio(**options: Any) -> McpServer:
    env = {"PYTHONPATH": ROOT, "GIVEN": "yes"}
    return McpServer("small", command=sys.executable, args=("-m", MODULE), env=env, **options)


class Box:
    """A tool box with these servers' tools, and what was offered, as it comes."""

    def __init__(self, *servers: McpServer) -> None:
        self.servers = McpServers(servers)
        self.tools = ToolBox([], arrival=self.servers.arrival)
        self.offers: asyncio.Queue[list[str]] = asyncio.Queue()

    def offer(self, source: str, tools: Sequence[Tool]) -> None:
        self.tools.offer(source, tools)
        self.offers.put_nowait([tool.name for tool in tools])

    async def call(self, name: str, **arguments: Any) -> ToolResult:
        return await self.tools.call(ToolCall("1", f"mcp__small__{name}", json.dumps(arguments)), CONTEXT)


@asynccontextmanager
async def started(*servers: McpServer, wait_seconds: float = LONG) -> AsyncGenerator[Box]:
    box = Box(*servers)
    await box.servers.start(box.offer, wait_seconds=wait_seconds)
    try:
        yield box
    finally:
        await box.servers.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class HttpServer:
    """The small server over HTTP, which can be killed and started again at the same address."""

    def __init__(self) -> None:
        self.port = free_port()
        self.settings = McpServer(
            "small", url=f"http://127.0.0.1:{self.port}/mcp", headers={"X-Given": "yes"}
        )
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", MODULE, str(self.port), cwd=ROOT, stdout=asyncio.subprocess.PIPE
        )
        assert self._process.stdout is not None
        assert await self._process.stdout.readline() == b"listening\n"

    async def kill(self) -> None:
        if self._process is not None:
            if self._process.returncode is None:
                self._process.kill()
            await self._process.communicate()


@pytest.fixture
async def http_server() -> AsyncIterator[HttpServer]:
    server = HttpServer()
    await server.start()
    yield server
    await server.kill()


@pytest_asyncio.fixture(params=["stdio", "http"], scope="module", loop_scope="module")
async def box(request: pytest.FixtureRequest) -> AsyncIterator[Box]:
    """One for all tests that take it, in their loop: an MCP server takes more than a second to start."""
    if request.param == "stdio":
        async with started(stdio()) as running:
            yield running
        return
    server = HttpServer()
    await server.start()
    async with started(server.settings) as running:
        yield running
    await server.kill()


@IN_THE_LOOP_OF_THE_BOX
async def test_tools_are_offered_under_names_that_providers_take(box: Box) -> None:
    plain = sorted(name.removeprefix("mcp__small__") for name in box.tools.names if name.isascii())
    assert [name for name in plain if name in ALL] == ALL
    (changed,) = [name for name in plain if name not in ALL]
    assert changed.startswith("sp_te_Sachen_xxx")
    assert all(len(name) <= 64 for name in box.tools.names)
    assert (await box.call(changed)).content == "late"


@IN_THE_LOOP_OF_THE_BOX
async def test_arguments_and_results_go_through(box: Box) -> None:
    ref = next(ref for ref in box.tools.refs() if ref.spec.name == "mcp__small__add")
    assert ref.spec.description == "Adds two numbers."
    assert ref.spec.parameters["required"] == ["a", "b"]
    assert (await box.call("add", a=1, b=2)).content == "3"
    assert (await box.call("figures")).content == '{"rows":[1,2]}'
    assert (await box.call("picture")).content == (
        "Look:\n[image, image/png, 8 bytes: not shown]\n[resource plan: file:///plan.md]\n"
        "[resource file:///page.md]\na page"
    )


@IN_THE_LOOP_OF_THE_BOX
async def test_a_failure_of_the_tool_is_an_error_for_the_model(box: Box) -> None:
    result = await box.call("fail", reason="no more paper")
    assert result.error_class == "failed"
    assert "no more paper" in result.content
    assert (await box.call("add", a="x")).error_class == "failed"


@IN_THE_LOOP_OF_THE_BOX
async def test_several_calls_run_at_the_same_time(box: Box) -> None:
    results = await asyncio.gather(*(box.call("add", a=number, b=1) for number in range(20)))
    assert [result.content for result in results] == [str(number + 1) for number in range(20)]


@IN_THE_LOOP_OF_THE_BOX
async def test_tools_that_come_later_are_offered_too(box: Box) -> None:
    assert "mcp__small__grown" not in await box.offers.get()
    await box.call("grow")
    assert "mcp__small__grown" in await box.offers.get()
    assert (await box.call("grown")).content == "new"


async def test_a_server_that_dies_during_a_call_is_connected_again_for_the_next(tmp_path: Path) -> None:
    """The call that it died of is not made again: its effect is unknown."""
    said = tmp_path / "said"
    async with started(stdio()) as box:
        first = await box.call("pid")
        result = await box.call("die", said_in=str(said))
        assert result.error_class == "failed"
        assert "not known whether the call took effect" in result.content
        second = await box.call("pid")
        assert second.error_class is None
        assert second.content != first.content
    assert said.read_text() == "died\n"


async def test_an_http_server_that_was_restarted_is_used_again(http_server: HttpServer) -> None:
    async with started(http_server.settings) as box:
        await box.offers.get()
        assert (await box.call("add", a=1, b=1)).content == "2"
        await http_server.kill()
        assert (await box.call("add", a=1, b=1)).error_class == "failed"
        gone = await box.call("add", a=1, b=1)
        assert gone.content.startswith("The MCP server small cannot be reached at the moment: ")
        await http_server.start()
        await box.offers.get()
        assert (await box.call("add", a=1, b=1)).content == "2"


async def test_a_server_that_is_down_neither_fails_nor_delays_the_start() -> None:
    nobody = McpServer("small", url=f"http://127.0.0.1:{free_port()}/mcp")
    missing = McpServer("missing", command="/no/such/program")
    async with started(nobody, missing) as box:
        assert box.tools.names == ()
        assert (await box.call("add", a=1, b=1)).error_class == "unknown_tool"
    silent = McpServer("small", command="sleep", args=("600",))
    before = set(psutil.Process().children(recursive=True))
    async with started(silent, wait_seconds=0) as box:
        assert box.tools.names == ()
    assert set(psutil.Process().children(recursive=True)) == before


async def test_a_run_older_than_the_service_finds_its_tool_while_its_server_is_still_coming() -> None:
    async with started(stdio(), wait_seconds=0) as box:
        assert box.tools.names == ()
        assert (await box.call("add", a=1, b=1)).content == "2"


async def test_a_server_that_is_up_later_is_tried_again(
    http_server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mcp, "RETRY_SECONDS", (0.01, 0.1))
    await http_server.kill()
    async with started(http_server.settings) as box:
        assert box.tools.names == ()
        await http_server.start()
        assert "mcp__small__add" in await box.offers.get()


async def test_a_call_without_end_is_timed_out_and_the_next_one_works(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    async with started(stdio(timeout_seconds=3)) as box:
        call = asyncio.ensure_future(box.call("wait", fifo=str(fifo)))
        assert await asyncio.to_thread(fifo.read_text) == "called\n"
        assert (await call).content == "The MCP server small gave no result of wait within 3 seconds."
        assert (await box.call("add", a=1, b=1)).content == "2"


async def test_a_cancelled_call_leaves_the_connection_as_it_was(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    async with started(stdio()) as box:
        call = asyncio.ensure_future(box.call("wait", fifo=str(fifo)))
        assert await asyncio.to_thread(fifo.read_text) == "called\n"
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert (await box.call("add", a=1, b=1)).content == "2"


async def test_effects_and_consent_are_the_operators_word() -> None:
    async with started(stdio(effects={"add": "pure"}, confirm=("die",), long_running=("add",))) as box:
        refs = {ref.spec.name.removeprefix("mcp__small__"): ref for ref in box.tools.refs()}
        assert (refs["add"].effect, refs["add"].confirm) == ("pure", False)
        assert (refs["die"].effect, refs["die"].confirm) == ("once", True)
        assert (refs["add"].long_running, refs["die"].long_running) == (True, False)
    async with started(stdio(confirm=("*",))) as box:
        assert all(ref.confirm for ref in box.tools.refs())


async def test_a_server_gets_its_own_environment_and_none_of_our_secrets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    async with started(stdio()) as box:
        assert (await box.call("pid")).content.endswith(" None yes")


async def test_closing_ends_the_servers_that_were_started() -> None:
    async with started(stdio()) as box:
        server = psutil.Process(int((await box.call("pid")).content.split()[0]))
    assert not server.is_running()


SERVICE = """
import asyncio, sys
from tests.integration.test_tools_mcp import started, stdio

async def main():
    async with started(stdio()) as box:
        print((await box.call("pid")).content.split()[0], flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a parent's death is told by Linux only")
async def test_a_server_does_not_outlive_a_service_that_is_killed() -> None:
    arguments = [sys.executable, "-c", SERVICE]
    service = subprocess.Popen(arguments, stdout=subprocess.PIPE, cwd=ROOT)  # noqa: ASYNC220 (it is killed)
    assert service.stdout is not None
    line = b""
    while not line.strip().isdigit():  # the log goes there too
        line = await asyncio.to_thread(service.stdout.readline)
        assert line
    server = psutil.Process(int(line))
    service.kill()
    service.communicate()
    _, alive = await asyncio.to_thread(psutil.wait_procs, [server], timeout=30)
    assert alive == []
