"""Contract section 6: long-running tools, over real sockets of the real server."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.chat import chat, of_type, opened, told
from tests.support.databases import TestServer
from tests.support.portal import Frame, portal, steps
from tests.support.rendering import RULES
from tests.support.service import Service, running_service, script


@pytest.fixture
def finish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """The tool `render` is done from then on."""
    monkeypatch.setitem(os.environ, "RENDER_GATE", str(tmp_path / "gate"))
    return (tmp_path / "gate").touch


@pytest.fixture
def service(server: TestServer, tmp_path: Path, finish: object) -> Iterator[Service]:
    settings = {"model": script(tmp_path, RULES), "lease_seconds": "2", "feed_heartbeat_seconds": "1"}
    with (
        server.database() as dsn,
        running_service(tmp_path, dsn, module="tests.support.rendering", **settings) as running,
    ):
        yield running


def operation(status: str) -> Callable[[Frame], bool]:
    """The step of an operation with this status."""
    return lambda frame: (
        frame["type"] == "step"
        and frame["data"]["event_type"] == "turn.operation"
        and frame["data"]["data"]["status"] == status
    )


async def call_shown(client: httpx.AsyncClient, session_id: str) -> dict[str, object]:
    """The first tool call of the conversation's second message, as a reload shows it."""
    found = (await client.get(f"/portal/conversations/{session_id}")).json()
    return found["messages"][1]["tool_calls"][0]


def answer(frames: list[Frame]) -> dict[str, str]:
    """What the model was told of the call, which is what it answers with."""
    return json.loads(frames[-1]["content"])


async def test_the_call_answers_at_once_and_its_result_takes_the_place_of_the_pending_one(
    service: Service, client: httpx.AsyncClient, finish: Callable[[], None]
) -> None:
    """`operation_started`, `operation_in_progress` for the same call again, `operation_pending` on a reload."""
    session_id = await opened(client)
    async with chat(service, session_id) as line:
        started = answer(await told(line, "render it"))
        assert started.keys() >= {"operation_id", "tool_name", "message"}
        assert (started["status"], started["tool_name"]) == ("operation_started", "render")
        (shown,) = [frame["data"]["data"] for frame in line.frames if operation("operation_started")(frame)]
        assert shown["operation_id"] == started["operation_id"]
        again = answer(await told(line, "render it once more"))
        assert (again["status"], again["operation_id"]) == ("operation_in_progress", started["operation_id"])
    call = await call_shown(client, session_id)
    assert (call["status"], call["operation_id"]) == ("operation_pending", started["operation_id"])
    assert json.loads(str(call["result"]))["status"] == "operation_pending"
    async with chat(service, session_id) as line:  # no socket was there meanwhile
        finish()
        finished = (await line.until(operation("operation_finished")))[-1]["data"]["data"]
    assert finished["content"] == "a picture of a boat"
    assert finished["operation_id"] == started["operation_id"]
    call = await call_shown(client, session_id)
    assert (call["status"], call["result"]) == ("operation_finished", "a picture of a boat")


async def test_the_portal_tells_of_the_result_too(service: Service, finish: Callable[[], None]) -> None:
    async with portal(service) as line:
        frames = await line.turn("render it")
        assert steps(frames, "operation")[0]["data"]["status"] == "operation_started"
        finish()
        finished = (await line.until(lambda frame: bool(steps([frame], "operation"))))[-1]
        assert finished["data"]["data"]["content"] == "a picture of a boat"
        assert finished["task_id"] == finished["data"]["data"]["operation_id"]
        await line.send(type="ping")
        assert await line.receive() == {"type": "pong"}


async def test_an_operation_is_cancelled_by_its_id(service: Service, client: httpx.AsyncClient) -> None:
    """`cancel` alone means the task that answers; with its `task_id` it means the operation."""
    async with chat(service, await opened(client)) as line:
        started = answer(await told(line, "render it"))
        await line.send(type="cancel")
        assert (await line.receive())["type"] == "error"
        await line.send(type="cancel", task_id=started["operation_id"])
        finished = (await line.until(of_type("step")))[-1]["data"]["data"]
    assert (finished["status"], finished["error_class"]) == ("operation_finished", "cancelled")
