"""The real service with one more tool, as `python -m tests.support.rendering run …`: `render`, long-running, is done
when the file that `RENDER_GATE` names is there."""

import asyncio
import os
from pathlib import Path
from typing import Any

import msgspec

from app import cli, server
from app.tools.tool import ToolContext, make_tool

POLL_SECONDS = 0.01
RENDER_SECONDS_MAX = 60.0

RULES: list[dict[str, Any]] = [
    {
        "when": {"last_user_contains": "render", "step": 0},
        "answer": {"tool_calls": [{"name": "render", "arguments": {"what": "boat"}}]},
    },
    {"when": {"last_user_contains": "render"}, "answer": {"text": "{last_tool}"}},
]
"""Rules of a scripted model that starts it and answers with what it was told."""


class RenderArguments(msgspec.Struct, frozen=True):
    what: str


async def render(arguments: RenderArguments, context: ToolContext) -> str:
    gate = Path(os.environ["RENDER_GATE"])
    async with asyncio.timeout(RENDER_SECONDS_MAX):
        while not gate.exists():  # noqa: ASYNC110, ASYNC240  # a file is what another process can open
            await asyncio.sleep(POLL_SECONDS)
    return f"a picture of a {arguments.what}"


def main() -> None:
    open_tools = server.open_tools

    async def with_render(*arguments: Any) -> Any:
        toolbox = await open_tools(*arguments)
        tool = make_tool(
            "render",
            "Renders a picture.",
            RenderArguments,
            render,
            effect="idempotent",
            timeout_seconds=RENDER_SECONDS_MAX,
            long_running=True,
        )
        toolbox.offer("tests", [tool])
        return toolbox

    server.open_tools = with_render
    cli.main()


if __name__ == "__main__":
    main()
