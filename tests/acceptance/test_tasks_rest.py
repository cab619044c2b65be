"""Contract section 3, the task record over REST: `GET /tasks`, `GET /tasks/{id}`, `POST /tasks`, `POST
/tasks/{id}/cancel`, over the real server."""

from datetime import datetime
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.support.portal import portal
from tests.support.service import Service
from tests.support.watching import RECORD, record, started, watched

NOBODYS = "00000000-0000-4000-8000-000000000000"
FAR = "0001-01-01T00:00:00%2B14:00"
ODD = "2026-01-01T00:00:00%2B00:00:30.5"


async def listed(client: httpx.AsyncClient, **query: Any) -> list[str]:
    """The ids of the page."""
    response = await client.get("/tasks", params=query)
    assert response.status_code == 200, response.text
    return [task["task_id"] for task in response.json()["tasks"]]


async def test_a_task_is_started_without_a_socket_and_goes_on_unwatched(
    service: Service, client: httpx.AsyncClient
) -> None:
    """`POST /tasks`; the record has every field of the contract, at the start and at the end."""
    task = await started(
        client, "please compute it", conversation_id="of its own", metadata={"ticket": 7, "by": ["a", None]}
    )
    assert task.keys() >= RECORD
    assert task["status"] in ("pending", "running")
    assert (task["output_data"], task["completed_at"], task["progress"] < 1) == (None, None, True)
    assert (task["conversation_id"], task["agent_name"]) == ("of its own", "assistant")
    assert task["metadata"] == {"ticket": 7, "by": ["a", None]}
    await watched(service, task["task_id"])
    ended = await record(client, task["task_id"])
    assert ended.keys() >= RECORD
    assert (ended["status"], ended["progress"], ended["metadata"]) == ("completed", 1.0, task["metadata"])
    assert ended["input_data"]["message"] == "please compute it"
    assert ended["output_data"]["message"] == "Found: 6*7 = 42."
    assert ended["run"]["steps"] == 3
    times = [datetime.fromisoformat(ended[name]) for name in ("created_at", "started_at", "completed_at")]
    assert times == sorted(times)
    assert ended["created_at"].endswith(("Z", "+00:00"))
    shown = (await client.get("/portal/conversations/of its own")).json()
    assert [message["role"] for message in shown["messages"]] == ["user", "assistant"]


async def test_what_a_client_calls_its_input_is_shown_to_the_agent_and_kept(
    service: Service, client: httpx.AsyncClient
) -> None:
    """`input_data` as an object with keys of its own."""
    given = {"message": "sum it up for me", "amounts": [1, 2], "currency": "NOK"}
    task = (await client.post("/tasks", json={"input_data": given})).json()
    assert task["input_data"].items() >= given.items()
    *_, result = await watched(service, task["task_id"])
    assert '"currency": "NOK"' in result["data"]["output"]
    bare = (await client.post("/tasks", json={"input_data": {"city": "Oslo"}})).json()
    assert (bare["input_data"]["city"], "Oslo" in bare["input_data"]["message"]) == ("Oslo", True)
    again = (await client.post("/tasks", json={"input_data": task["input_data"]})).json()
    assert again["input_data"].items() >= given.items()
    text = (await client.post("/tasks", json={"input_data": "just a text, please"})).json()
    assert text["input_data"]["message"] == "just a text, please"


async def test_the_same_client_message_id_starts_one_task(
    service: Service, client: httpx.AsyncClient
) -> None:
    body = {"message": "once only, please", "client_message_id": "the same", "metadata": {"try": 1}}
    first, second = [(await client.post("/tasks", json={**body, "metadata": {"try": n}})) for n in (1, 2)]
    assert (first.status_code, second.status_code) == (201, 201)
    assert second.json()["task_id"] == first.json()["task_id"]
    assert second.json()["metadata"] == {"try": 1}
    await watched(service, first.json()["task_id"])
    late = await client.post("/tasks", json=body)
    assert (late.status_code, late.json()["status"]) == (201, "completed")
    reused = await client.post("/tasks", json={**body, "message": "another"})
    assert reused.status_code == 409


@pytest.mark.parametrize(
    ("body", "status", "part"),
    [
        ({}, 400, "either message or input_data"),
        ({"message": "a", "input_data": "b"}, 400, "either message or input_data"),
        ({"message": " "}, 400, "empty"),
        ({"input_data": {}}, 400, "empty"),
        ({"input_data": {"message": 7}}, 400, "input_data.message is 7"),
        ({"input_data": {"message": "a", "sources": "x"}}, 400, 'input_data.sources is "x"'),
        ({"input_data": 7}, 400, "input_data"),
        ({"message": "a", "agent_name": "nobody"}, 404, "nobody"),
        ({"message": "a", "skill_name": "nothing"}, 404, "nothing"),
        ({"message": "a", "execution_mode": "dreaming"}, 400, "dreaming"),
        ({"message": "a", "conversation_id": "a/b"}, 400, "a/b"),
        ({"message": "a", "metadata": {"a": "x" * 20_000}}, 413, "16384"),
        ({"input_data": {"a": "x" * 70_000}}, 413, "65536"),
        ({"message": "a", "metadata": [1]}, 400, "metadata"),
    ],
)
async def test_a_task_that_cannot_be_started_leaves_nothing(
    client: httpx.AsyncClient, body: dict[str, Any], status: int, part: str
) -> None:
    """One sentence that says what is wrong; unknown agents and skills are 404 before anything is written."""
    name = body.get("conversation_id") or f"nothing {uuid4()}"
    before = await listed(client, limit=1)
    response = await client.post("/tasks", json={"conversation_id": name, **body})
    assert (response.status_code, part in response.json()["detail"]) == (status, True), response.text
    assert await listed(client, limit=1) == before
    assert (await client.get(f"/portal/conversations/{name}")).status_code == 404


async def test_texts_that_no_database_can_hold_are_taken_all_the_same(client: httpx.AsyncClient) -> None:
    body = b'{"message":"a\\u0000b","metadata":{"k\\u0000":"v\\u0000"},"agent_name":"assistant"}'
    response = await client.post("/tasks", content=body, headers={"Content-Type": "application/json"})
    assert (response.status_code, response.json()["metadata"]) == (201, {"k\ufffd": "v\ufffd"})


async def test_the_list_is_filtered_and_paged(service: Service, client: httpx.AsyncClient) -> None:
    """`GET /tasks?status&agent_name&limit&cursor`, newest first; `status` may be several."""
    name = f"listed {uuid4()}"
    ids = []
    for number in range(5):
        message = "break now" if number == 2 else f"count {number}"
        ids.append((await started(client, message, conversation_id=name))["task_id"])
        await watched(service, ids[-1])
    ids.reverse()
    of = {"conversation_id": name}
    assert await listed(client, **of) == ids
    assert await listed(client, **of, status="failed") == [ids[2]]
    assert await listed(client, **of, status="failed,completed") == ids
    both = await client.get("/tasks", params=[*of.items(), ("status", "failed"), ("status", "completed")])
    assert [task["task_id"] for task in both.json()["tasks"]] == ids
    assert await listed(client, **of, status="cancelled") == []
    assert await listed(client, **of, agent_name="assistant") == ids
    assert await listed(client, **of, agent_name="no\0body") == []
    seen: list[str] = []
    query: dict[str, Any] = {**of, "limit": 2}
    while True:
        page = (await client.get("/tasks", params=query)).json()
        seen += [task["task_id"] for task in page["tasks"]]
        if page["next_cursor"] is None:
            break
        # As it stands, without escaping it.
        again = await client.get(f"/tasks?limit=2&cursor={page['next_cursor']}", params=None)
        assert again.status_code == 200
        query["cursor"] = page["next_cursor"]
    assert seen == ids


@pytest.mark.parametrize(
    ("query", "part"),
    [
        ("status=asleep", "pending, running, waiting, completed, failed, cancelled"),
        ("status=completed,", "''"),
        ("status=%00", "no status"),
        ("cursor=x", "not a cursor"),
        ("cursor=%00", "not a cursor"),
        (f"cursor={FAR}~{NOBODYS}", "not a cursor"),
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("conversation_id=a%2Fb", "a/b"),
    ],
)
async def test_a_list_that_cannot_be_had_is_400_and_says_why(
    client: httpx.AsyncClient, query: str, part: str
) -> None:
    response = await client.get(f"/tasks?{query}")
    assert (response.status_code, part in response.json()["detail"]) == (400, True), response.text


async def test_a_cursor_with_an_odd_time_zone_is_a_cursor(client: httpx.AsyncClient) -> None:
    assert (await client.get(f"/tasks?cursor={ODD}~{uuid4()}")).status_code == 200


async def test_a_task_is_cancelled_over_rest(service: Service, client: httpx.AsyncClient) -> None:
    """`POST /tasks/{id}/cancel`; 409 once it has ended."""
    task_id = (await started(client, "please hold three"))["task_id"]
    told = await client.post(f"/tasks/{task_id}/cancel")
    assert (told.status_code, told.json()) == (200, {"task_id": task_id, "status": "cancelling"})
    *_, result = await watched(service, task_id)
    assert result["data"]["status"] == "cancelled"
    shown = await record(client, task_id)
    assert (shown["status"], shown["run"]["cancelled_by"]) == ("cancelled", "user:local")
    again = await client.post(f"/tasks/{task_id}/cancel")
    assert (again.status_code, "cancelled" in again.json()["detail"]) == (409, True)


@pytest.mark.parametrize("task_id", [NOBODYS, "nonsense", "%00", "x" * 300])
async def test_what_is_no_task_is_404(client: httpx.AsyncClient, task_id: str) -> None:
    for response in (await client.get(f"/tasks/{task_id}"), await client.post(f"/tasks/{task_id}/cancel")):
        assert (response.status_code, "There is no task" in response.json()["detail"]) == (404, True)


async def test_the_portals_resume_fails_closed_for_tasks_of_other_conversations(
    service: Service, client: httpx.AsyncClient
) -> None:
    """Section 1: "a task of another conversation … gets an error frame and nothing else"."""
    task = await started(client, "hello there, you")
    await watched(service, task["task_id"])
    async with portal(service) as line:
        await line.send(type="resume", task_id=task["task_id"], conversation_id="another one")
        assert (await line.receive())["type"] == "error"
        await line.send(type="resume", task_id=task["task_id"], conversation_id=task["conversation_id"])
        assert [(await line.receive())["type"] for _ in range(2)] == ["connected", "result"]


async def test_a_deleted_conversation_takes_its_tasks_from_the_lists(
    service: Service, client: httpx.AsyncClient
) -> None:
    task = await started(client, "hello there, you", conversation_id="soon gone")
    await watched(service, task["task_id"])
    await client.delete("/portal/conversations/soon gone")
    assert (await client.get(f"/tasks/{task['task_id']}")).status_code == 404
    assert await listed(client, conversation_id="soon gone") == []
