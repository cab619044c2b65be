"""A chat session as its clients use it: opened over REST, talked to over its socket."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx

from tests.support.portal import Frame, Portal, portal
from tests.support.service import Service

AGENT = "assistant"
ENDS = ("final_answer", "error", "result")

ASKING: list[dict[str, Any]] = [
    {
        "when": {"last_user_contains": "ask me", "step": 0},
        "answer": {
            "text": "I have to ask.",
            "tool_calls": [{"name": "ask_human", "arguments": {"question": "Which colour?"}}],
        },
    },
    {"when": {"last_user_contains": "ask me"}, "answer": {"text": "Noted. {last_tool}"}},
    {
        "when": {"last_user_contains": "run it", "step": 0},
        "answer": {"tool_calls": [{"name": "shell", "arguments": {"command": "echo done $((40+2))"}}]},
    },
    {"when": {"last_user_contains": "run it"}, "answer": {"text": "It said: {last_tool}"}},
]
"""Rules of a scripted model that asks a question, and one that wants to run a command."""


async def opened(client: httpx.AsyncClient, *, agent: str = AGENT, **more: Any) -> str:
    """The id of a new session."""
    response = await client.post("/chat/sessions", json={"agent_name": agent, **more})
    assert response.status_code == 201, response.text
    return response.json()["session_id"]


@asynccontextmanager
async def chat(
    service: Service, session_id: str, *, query: str = "", **options: Any
) -> AsyncGenerator[Portal]:
    """A socket of the session, connected."""
    path = f"/api/v1/chat/ws/{session_id}" + (f"?{query}" if query else "")
    async with portal(service, path, **options) as line:
        assert (await line.receive())["type"] == "connected"
        yield line


def of_type(kind: str) -> Callable[[Frame], bool]:
    return lambda frame: frame["type"] == kind


async def told(line: Portal, content: str, **more: Any) -> list[Frame]:
    """Send a message and take everything up to its end."""
    await line.send(type="message", content=content, **more)
    return await line.until(lambda frame: frame["type"] in ENDS)


def tokens(frames: list[Frame]) -> str:
    """What a client shows as the answer: `reset` begins anew."""
    shown = ""
    for frame in frames:
        if frame["type"] == "token":
            shown = frame["content"] if frame["reset"] else shown + frame["content"]
    return shown


def step_names(frames: list[Frame]) -> list[str]:
    """The event types of the `step` frames."""
    return [frame["data"]["event_type"] for frame in frames if frame["type"] == "step"]


def offsets(frames: list[Frame]) -> list[int]:
    return [frame["offset"] for frame in frames if "offset" in frame]
