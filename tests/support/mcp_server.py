"""A small MCP server: over stdio, or with a port as its argument over streamable HTTP on loopback."""

import os
import socket
import sys
from base64 import b64encode
from pathlib import Path
from typing import Any

import anyio
import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import (
    CallToolResult,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
)

server = MCPServer("small", log_level="ERROR")


@server.tool()
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


@server.tool()
def fail(reason: str) -> str:
    """Fails."""
    raise ToolError(reason)


@server.tool()
def pid() -> str:
    """Its process and the name of its user's key."""
    return f"{os.getpid()} {os.environ.get('OPENAI_API_KEY')} {os.environ.get('GIVEN')}"


@server.tool()
def die(said_in: str) -> str:
    """Says so in a file and is gone."""
    with Path(said_in).open("a") as file:
        file.write("died\n")
    os._exit(7)


@server.tool()
async def wait(fifo: str) -> str:
    """Says to the pipe that it was called, and never answers."""

    def say() -> None:
        with Path(fifo).open("w") as pipe:
            pipe.write("called\n")

    await anyio.to_thread.run_sync(say)
    await anyio.sleep_forever()
    return ""


@server.tool()
def picture() -> CallToolResult:
    """A picture and words."""
    image = ImageContent(type="image", data=b64encode(b"\x89PNG0123").decode(), mime_type="image/png")
    linked = ResourceLink(name="plan", uri="file:///plan.md")
    page = EmbeddedResource(resource=TextResourceContents(uri="file:///page.md", text="a page"))
    return CallToolResult(content=[TextContent(text="Look:"), image, linked, page])


@server.tool()
def figures() -> CallToolResult:
    """Structured content alone."""
    return CallToolResult(content=[], structured_content={"rows": [1, 2]})


@server.tool(name="späte Sachen/" + "x" * 60)
def late() -> str:
    """A tool whose name no provider takes."""
    return "late"


@server.tool()
async def grow(ctx: Context[Any, Any]) -> str:
    """One more tool from now on."""
    server.add_tool(lambda: "new", name="grown", description="Grown.")
    await ctx.notify_tools_changed()
    return "grown"


class Announcing(uvicorn.Server):
    """Says when it listens."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print("listening", flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        app = server.streamable_http_app(host="127.0.0.1")
        Announcing(uvicorn.Config(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error")).run()
    else:
        print("the small server says hello", file=sys.stderr)
        server.run("stdio")
