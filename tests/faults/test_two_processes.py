"""Two real service processes on one database work as one: what runs on one is watched, answered and cancelled on the
other, and a conversation's messages keep their order over both.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import pytest_asyncio
from websockets.asyncio.client import ClientConnection, connect

from app.core.events import TERMINAL_TYPES
from tests.kills.checks import check_conversation
from tests.kills.client import Client
from tests.kills.harness import recorded
from tests.kills.lane import Lane, running_pair
from tests.support.databases import TestServer

FRAME_SECONDS_MAX = 30
CANCEL_SECONDS_MAX = 2.0
LEASE_SECONDS = "30"  # nothing is taken over here


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lanes(
    server: TestServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Lane, Lane]]:
    """One pair for all tests, in their loop; each has a conversation of its own."""
    folder = tmp_path_factory.mktemp("pair")
    with server.database() as dsn:
        async with running_pair(folder, dsn, ("here", "there"), lease_seconds=LEASE_SECONDS) as lanes:
            yield lanes


class Watcher:
    """A socket that watches a task."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self.frames: list[dict[str, Any]] = []

    async def send(self, **frame: Any) -> None:
        await self._connection.send(json.dumps(frame))

    async def until(self, name: str) -> dict[str, Any]:
        """The next frame of that type, or step of that name."""
        while True:
            async with asyncio.timeout(FRAME_SECONDS_MAX):
                frame = json.loads(await self._connection.recv())
            self.frames.append(frame)
            if name in (frame["type"], frame.get("data", {}).get("event_type")):
                return frame


@asynccontextmanager
async def watching(lane: Lane, client: Client, task_id: str) -> AsyncIterator[Watcher]:
    async with connect(lane.url.replace("http", "ws", 1) + "/api/v1/portal/ws") as connection:
        watcher = Watcher(connection)
        await watcher.send(type="resume", task_id=task_id, conversation_id=client.conversation_id)
        yield watcher


async def test_a_run_is_watched_on_the_other_process(lanes: tuple[Lane, Lane]) -> None:
    here, there = lanes
    client = Client(here, "watched")
    turn = client.begin("please wait for me")
    called = await client.sees("tool.called")
    async with watching(there, client, called.task_id) as watcher:
        step = await watcher.until("turn.tool_call")
        assert not turn.done(), "while it runs"
        client.open_gate()
        answer = await watcher.until("turn.final_answer")
        result = await watcher.until("result")
    await turn
    assert step["data"]["data"]["name"] == "wait"
    assert answer["data"]["data"]["content"] == result["data"]["message"] == "Waited: wait: for you"


@pytest.mark.parametrize(
    ("message", "asked", "name", "answered"),
    [
        ("please ask me", "human.asked", "reply", "Painted. 6*7 = 42"),
        ("please send it", "confirmation.requested", "confirm", "Sent? send: a letter"),
    ],
)
async def test_a_run_is_answered_on_the_other_process_once(
    lanes: tuple[Lane, Lane], message: str, asked: str, name: str, answered: str
) -> None:
    here, there = lanes
    client, other = Client(here, f"asks-{name}"), Client(there, f"asks-{name}")
    turn = client.begin(message)
    request = await other.sees(asked)
    if name == "reply":
        await other.reply(request, "blue")
        again = {"request_id": request.payload["request_id"], "content": "red"}
    else:
        await other.confirm(request, approved=True)
        again = {"confirmation_id": request.payload["confirmation_id"], "approved": False}
    await turn
    for lane in lanes:
        connection: httpx.AsyncClient = await lane.connected()
        refused = await connection.post(f"/tasks/{request.task_id}/{name}", json=again)
        assert refused.status_code == 409, refused.text
    events = await recorded(here, client)
    check_conversation(events, client, here.effects, tasks=1)
    assert client.seen[-1].data["data"]["content"] == answered


@pytest.mark.parametrize("message", ["please wait for me", "please think"])
async def test_a_run_is_cancelled_on_the_other_process_within_a_second(
    lanes: tuple[Lane, Lane], message: str
) -> None:
    """Its tool, or the model that speaks, is stopped; what there is of an answer is kept. A bound (1 s, and as much for
    a busy machine), not a measurement."""
    here, there = lanes
    name = f"cancelled-{message.split()[1]}"
    client, other = Client(here, name), Client(there, name)
    turn = client.begin(message)
    if message == "please think":
        await client.shown("A thought,")
    called = await other.sees("model.called" if message == "please think" else "tool.called")
    await other.cancel(called)
    await turn
    events = await recorded(here, client)
    (asked,) = (one for one in events if one.type == "run.cancel_requested")
    (ended,) = (one for one in events if one.type in TERMINAL_TYPES)
    assert ended.type == "run.cancelled"
    assert ended.event().by == "user:local"  # type: ignore[union-attr]
    assert (ended.recorded_at - asked.recorded_at).total_seconds() <= CANCEL_SECONDS_MAX
    check_conversation(events, client, here.effects, tasks=1)
    kept = [one.event().content for one in events if one.type == "message.interrupted"]  # type: ignore[union-attr]
    assert kept == (["A thought,"] if message == "please think" else [])


async def test_messages_sent_to_both_processes_are_answered_in_their_order(lanes: tuple[Lane, Lane]) -> None:
    here, there = lanes
    clients = [
        Client(lane, "queue", name=f"{number}") for number, lane in enumerate((here, there, here, there))
    ]
    first, *others = clients
    turns = [first.begin("please wait for me")]
    await first.sees("tool.called")
    for number, client in enumerate(others, start=2):
        turns.append(client.begin(f"message {number} of the queue"))
        await first.sees("run.requested", number=number)
    first.open_gate()
    await asyncio.gather(*turns)

    events = await recorded(here, first)
    for client in clients:
        check_conversation(events, client, here.effects, tasks=4)
    requested = [one.task_id for one in events if one.type == "run.requested"]
    assert [one.task_id for one in events if one.type == "run.claimed"] == requested
    assert [one.task_id for one in events if one.type in TERMINAL_TYPES] == requested
    began_or_ended = [
        one.task_id for one in events if one.type == "run.claimed" or one.type in TERMINAL_TYPES
    ]
    assert began_or_ended == [task for task in requested for _ in range(2)], "one after the other"
    workers = [one.event().worker for one in events if one.type == "run.claimed"]  # type: ignore[union-attr]
    assert workers[0] == workers[2] != workers[1] == workers[3]
