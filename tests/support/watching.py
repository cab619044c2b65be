"""Tasks as their clients use them: started over REST, watched over the task's socket."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from tests.support.portal import Frame, Portal, portal
from tests.support.service import Service

LIVE = frozenset(
    {
        "turn.token",
        "turn.expert_speech_chunk",
        "turn.expert_result_chunk",
        "turn.expert_result_chunk_reset",
        "turn.team_synthesis_chunk",
    }
)
"""Steps that are not in the log: how a text is cut into them is nobody's promise."""
RECORD = frozenset(
    {
        "task_id",
        "conversation_id",
        "agent_name",
        "skill_name",
        "status",
        "input_data",
        "output_data",
        "error_message",
        "progress",
        "progress_message",
        "metadata",
        "created_at",
        "started_at",
        "completed_at",
    }
)
"""The fields of the contract's task record."""


async def started(client: httpx.AsyncClient, message: str, **more: Any) -> dict[str, Any]:
    """The record of a new task."""
    response = await client.post("/tasks", json={"message": message, **more})
    assert response.status_code == 201, response.text
    return response.json()


async def record(client: httpx.AsyncClient, task_id: str) -> dict[str, Any]:
    response = await client.get(f"/tasks/{task_id}")
    assert response.status_code == 200, response.text
    return response.json()


@asynccontextmanager
async def watching(
    service: Service, task_id: str, after: object = None, **options: Any
) -> AsyncGenerator[Portal]:
    """A socket of the task, connected."""
    path = f"/api/v1/ws/tasks/{task_id}" + ("" if after is None else f"?after={after}")
    async with portal(service, path, **options) as line:
        connected = await line.receive()
        assert (connected["type"], connected["task_id"]) == ("connected", task_id), connected
        yield line


def is_end(frame: Frame) -> bool:
    return frame["type"] in ("result", "error")


async def watched(service: Service, task_id: str, after: object = None, **options: Any) -> list[Frame]:
    """What the socket tells of the task up to its end, without `connected`."""
    async with watching(service, task_id, after, **options) as line:
        return await line.until(is_end)


def minuted(frames: list[Frame]) -> list[Frame]:
    """Without `connected` and what is not in the log."""
    return [frame for frame in frames if frame["type"] != "connected" and not is_live(frame)]


def is_live(frame: Frame) -> bool:
    return frame["type"] == "step" and (
        frame["data"]["event_type"] in LIVE or bool(frame["data"]["data"].get("partial"))
    )


def names(frames: list[Frame]) -> list[str]:
    """The event types of the steps without `turn.`, and the types of the other frames."""
    return [
        frame["data"]["event_type"].removeprefix("turn.") if frame["type"] == "step" else frame["type"]
        for frame in frames
    ]
