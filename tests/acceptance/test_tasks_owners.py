"""Contract sections 3 and 9: whose tasks one may see, watch and end; and how a silent watcher is closed."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from tests.support.databases import TestServer
from tests.support.portal import is_token, portal
from tests.support.service import Service, running_service, script
from tests.support.watching import is_end, record, started, watched, watching

USERS = {"ana": "member", "bob": "member", "eve": "auditor", "root": "admin"}
HEARTBEAT_SECONDS = 2


def key(user: str) -> dict[str, str]:
    return {"X-API-Key": f"key-of-{user}-0123456789"}


@pytest.fixture(scope="module")
def service(
    server: TestServer, tmp_path_factory: pytest.TempPathFactory, rules: list[dict[str, object]]
) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("owners")
    keys = [{"key": key(user)["X-API-Key"], "user": user, "role": role} for user, role in USERS.items()]
    settings = {
        "model": script(folder, rules),
        "api_keys": json.dumps(keys),
        "feed_heartbeat_seconds": "1",
        "task_heartbeat_seconds": str(HEARTBEAT_SECONDS),
    }
    with server.database() as dsn, running_service(folder, dsn, **settings) as running:
        yield running


@pytest.fixture
async def users(service: Service) -> AsyncIterator[dict[str, httpx.AsyncClient]]:
    """A client of each user."""
    async with AsyncExitStack() as stack:
        yield {user: await stack.enter_async_context(service.client(headers=key(user))) for user in USERS}


async def test_somebody_elses_task_looks_as_if_there_was_none(
    service: Service, users: dict[str, httpx.AsyncClient]
) -> None:
    """The same sentence for an unknown task and one of another member, over REST and on the socket."""
    task_id = (await started(users["ana"], "hello there, you"))["task_id"]
    await watched(service, task_id, additional_headers=key("ana"))
    foreign, bob = task_id, users["bob"]
    unknown = "00000000-0000-4000-8000-000000000000"
    details = []
    for one in (foreign, unknown):
        answers = [
            await bob.get(f"/tasks/{one}"),
            await bob.post(f"/tasks/{one}/cancel"),
            await bob.post(f"/tasks/{one}/reply", json={"request_id": f"{one}.1", "content": "x"}),
        ]
        assert {answer.status_code for answer in answers} == {404}
        sentences = {answer.json()["detail"] for answer in answers}
        async with portal(service, f"/api/v1/ws/tasks/{one}", additional_headers=key("bob")) as line:
            sentences.add((await line.receive())["data"]["message"])
            with pytest.raises(ConnectionClosed):
                await line.connection.recv()
            assert line.connection.close_code == 4004
        details.append({sentence.replace(one, "ID") for sentence in sentences})
    assert details[0] == details[1]
    assert len(details[0]) == 1
    assert (await bob.get("/tasks")).json() == {"tasks": [], "next_cursor": None}
    assert (await bob.get("/tasks?owner=ana")).status_code == 404


async def test_an_auditor_watches_and_changes_nothing_and_an_admin_may_end_it(
    service: Service, users: dict[str, httpx.AsyncClient]
) -> None:
    """Section 9: "auditor (reads everything, changes nothing)"; `cancel` from any authorised watcher."""
    task_id = (await started(users["ana"], "please hold four"))["task_id"]
    assert (await record(users["eve"], task_id))["owner"] == "ana"
    listed = (await users["eve"].get("/tasks?owner=ana&status=running,pending")).json()["tasks"]
    assert [task["task_id"] for task in listed] == [task_id]
    assert (await users["eve"].post(f"/tasks/{task_id}/cancel")).status_code == 403
    assert (await users["eve"].post("/tasks", json={"message": "hi"})).status_code == 403
    async with (
        watching(service, task_id, additional_headers=key("eve")) as eve,
        watching(service, task_id, additional_headers=key("root")) as root,
    ):
        await asyncio.gather(eve.until(is_token), root.until(is_token))
        await eve.send(type="cancel")
        refused = (await eve.until(lambda frame: frame["type"] == "error"))[-1]
        assert "auditor" in refused["data"]["message"]
        await root.send(type="cancel")
        told = await asyncio.gather(eve.until(is_end), root.until(is_end))
    assert [frames[-1]["data"]["status"] for frames in told] == ["cancelled", "cancelled"]
    assert (await record(users["ana"], task_id))["run"]["cancelled_by"] == "user:root"


async def test_a_silent_client_is_closed_with_1000_and_without_a_key_with_4001(
    service: Service, users: dict[str, httpx.AsyncClient]
) -> None:
    """ "A silent client is closed after 60 s" (here 2); the task goes on."""
    task_id = (await started(users["ana"], "hello there, you"))["task_id"]
    async with watching(service, task_id, additional_headers=key("ana")) as line:
        await line.until(is_end)
        with pytest.raises(ConnectionClosed):
            await line.connection.recv()
        assert line.connection.close_code == 1000
    async with portal(service, f"/api/v1/ws/tasks/{task_id}?api_key=wrong-key-0123456789") as line:
        assert (await line.receive())["type"] == "error"
        with pytest.raises(ConnectionClosed):
            await line.connection.recv()
        assert line.connection.close_code == 4001
