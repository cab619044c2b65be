"""`as_of` over REST, on the real server: conversations, messages and tasks as they were (docs/past.md)."""

from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.support.service import Service

Json = dict[str, Any]


@pytest.fixture
async def told(client: httpx.AsyncClient) -> Json:
    """A conversation of two turns: its id, what was to be read behind the first, and its events."""
    answer = (await client.post("/portal/chat", json={"message": "please compute it"})).json()
    name = answer["conversation_id"]
    first = (await client.get(f"/portal/conversations/{name}")).json()
    tasks = (await client.get("/tasks", params={"conversation_id": name})).json()["tasks"]
    await client.post("/portal/chat", json={"message": "and again compute", "conversation_id": name})
    events = (await client.get(f"/conversations/{name}/events")).json()["events"]
    path = f"/portal/conversations/{name}"
    return {"id": name, "path": path, "first": first, "tasks": tasks, "events": events}


def event_of(told: Json, kind: str, count: int = 1) -> Json:
    """The event of that type, counted from 1."""
    return [event for event in told["events"] if event["type"] == kind][count - 1]


async def test_a_conversation_is_read_as_it_was_by_offset_position_and_time(
    client: httpx.AsyncClient, told: Json
) -> None:
    end = event_of(told, "run.completed")
    for as_of in (f"offset:{end['offset']}", f"position:{end['position']}", end["recorded_at"]):
        response = await client.get(told["path"], params={"as_of": as_of})
        found = response.json()
        assert response.headers["x-as-of"] == f"offset:{end['offset']}"
        assert found.pop("offset") == end["offset"]
        assert found.pop("cursor").endswith(f":{end['offset']}")
        assert found == {key: told["first"][key] for key in found}
        assert len(found["messages"]) == found["message_count"] == 2


async def test_minutes_are_those_of_then_also_of_what_was_deleted(
    client: httpx.AsyncClient, told: Json
) -> None:
    path, end = f"/conversations/{told['id']}/minutes", event_of(told, "run.completed")
    now = (await client.get(path)).json()
    await client.delete(told["path"])
    assert (await client.get(path)).status_code == 404
    for as_of in (f"offset:{end['offset']}", f"position:{end['position']}", end["recorded_at"]):
        response = await client.get(path, params={"as_of": as_of})
        assert response.headers["x-as-of"] == f"offset:{end['offset']}"
        assert response.json()["offset"] == end["offset"]
        assert response.json()["items"] == now["items"][:1]
    called = event_of(told, "tool.called")
    middle = await client.get(path, params={"as_of": f"offset:{called['offset']}", "format": "markdown"})
    assert "please compute it" in middle.text
    assert "### Answer" not in middle.text
    assert (await client.get(path, params={"as_of": "offset:0"})).status_code == 404
    to_come = await client.get(path, params={"as_of": "offset:9999"})
    assert (to_come.status_code, "is to come" in to_come.json()["detail"]) == (400, True)


async def test_the_middle_of_a_run_shows_the_question_and_a_running_task(
    client: httpx.AsyncClient, told: Json
) -> None:
    called = event_of(told, "tool.called", 2)
    as_of = {"as_of": f"offset:{called['offset']}"}
    found = (await client.get(told["path"], params=as_of)).json()
    assert [message["content"] for message in found["messages"][2:]] == ["and again compute"]
    task = (await client.get(f"/tasks/{called['task_id']}", params=as_of)).json()
    assert (task["status"], task["progress_message"]) == ("running", "calculator")
    assert task["last_offset"] == called["offset"]
    listed = await client.get("/tasks", params={"conversation_id": told["id"], **as_of})
    assert listed.headers["x-as-of"] == f"offset:{called['offset']}"
    assert [one["status"] for one in listed.json()["tasks"]] == ["running", "completed"]
    running = {"conversation_id": told["id"], "status": "running", **as_of}
    assert [one["task_id"] for one in (await client.get("/tasks", params=running)).json()["tasks"]] == [
        called["task_id"]
    ]


async def test_what_was_deleted_is_still_read_as_it_was(client: httpx.AsyncClient, told: Json) -> None:
    end = event_of(told, "run.completed")
    await client.delete(told["path"])
    await client.post("/portal/chat", json={"message": "a new start", "conversation_id": told["id"]})
    as_of = {"as_of": f"offset:{end['offset']}"}
    found = (await client.get(told["path"], params=as_of)).json()
    assert (found["title"], found["messages"]) == (told["first"]["title"], told["first"]["messages"])
    assert (await client.get(f"/tasks/{end['task_id']}")).status_code == 404
    assert (await client.get(f"/tasks/{end['task_id']}", params=as_of)).json() == told["tasks"][0]
    listed = await client.get("/tasks", params={"conversation_id": told["id"], **as_of})
    assert listed.json()["tasks"] == told["tasks"]
    deleted = (await client.get(f"/conversations/{told['id']}/events?types=conversation.deleted")).json()[
        "events"
    ][-1]
    gone = {"as_of": f"offset:{deleted['offset']}"}
    assert (await client.get(told["path"], params=gone)).status_code == 404
    assert (await client.get(f"/tasks/{end['task_id']}", params=gone)).status_code == 404


async def test_the_messages_of_a_session_are_paged_as_they_were(client: httpx.AsyncClient) -> None:
    session = (await client.post("/chat/sessions", json={"agent_name": "assistant"})).json()["session_id"]
    path = f"/chat/sessions/{session}/messages"
    for number in range(3):
        await client.post(path, json={"content": f"compute {number}"})
    whole = (await client.get(path)).json()
    openai = f"/chat/sessions/{session}/openai-messages"
    ends = (await client.get(f"/conversations/{session}/events?types=run.completed")).json()["events"]
    for count, end in enumerate(ends, start=1):
        as_of = {"as_of": f"offset:{end['offset']}"}
        assert (await client.get(path, params=as_of)).json() == whole[: 2 * count]
        page = await client.get(path, params={"limit": 2, "offset": 1, **as_of})
        assert page.json() == whole[1:3][: 2 * count - 1]
        assert page.headers["x-as-of"] == f"offset:{end['offset']}"
        asked = [one for one in (await client.get(openai, params=as_of)).json() if one["role"] == "user"]
        assert len(asked) == count
    opened = await client.get(path, params={"as_of": "offset:2"})
    assert (opened.status_code, opened.json()) == (200, [])
    assert (await client.get(path, params={"as_of": "offset:1"})).status_code == 404


@pytest.mark.parametrize(
    ("as_of", "told_so"),
    [
        ("", "not a moment"),
        ("yesterday", "position:4711"),
        ("120", "offset:120"),
        ("offset:-1", "not a moment"),
        ("offset:1e3", "not a moment"),
        ("offset:" + "9" * 18, "is to come"),
        ("position:" + "9" * 18, "is to come"),
        ("2026-11-22", "with its zone"),
        ("2026-11-22T10:00:00", "with its zone"),
        ("2026-13-22T10:00:00Z", "with its zone"),
        ("offset:١", "not a moment"),
        ("\0", "not a moment"),
    ],
)
async def test_a_moment_that_cannot_be_used_is_400_with_what_to_send(
    client: httpx.AsyncClient, told: Json, as_of: str, told_so: str
) -> None:
    for path in (
        told["path"],
        f"/tasks/{told['tasks'][0]['task_id']}",
        f"/tasks?conversation_id={told['id']}",
    ):
        joined = "&" if "?" in path else "?"
        response = await client.get(f"{path}{joined}as_of={quote(as_of)}")
        assert response.status_code == 400, (path, response.text)
        assert told_so in response.json()["detail"]


async def test_before_everything_there_is_nothing_and_in_the_future_what_there_is_now(
    client: httpx.AsyncClient, told: Json
) -> None:
    path = told["path"]
    for early in ("offset:0", "position:0", "0001-01-01T00:00+14:00", "1999-12-31T23:59:59.999999Z"):
        assert (await client.get(path, params={"as_of": early})).status_code == 404, early
    late = (await client.get(path, params={"as_of": "9999-12-31T23:59:59-12:00"})).json()
    now = (await client.get(path)).json()
    assert late | {"offset": 0, "cursor": ""} == now | {"offset": 0, "cursor": ""}
    assert late["offset"] == told["events"][-1]["offset"]


async def test_lists_of_tasks_need_a_conversation_and_unknown_ones_are_404(client: httpx.AsyncClient) -> None:
    response = await client.get("/tasks?as_of=offset:1")
    assert (response.status_code, "conversation_id" in response.json()["detail"]) == (400, True)
    assert (await client.get("/tasks?as_of=offset:1&conversation_id=none")).status_code == 404
    for task_id in ("none", "00000000-0000-4000-8000-000000000009"):
        assert (await client.get(f"/tasks/{task_id}?as_of=offset:1")).status_code == 404


async def test_the_document_says_what_as_of_takes(service: Service) -> None:
    async with service.client() as client:
        document = (await client.get(f"{service.url}/schema/openapi.json")).json()
    for path in ("/portal/conversations/{conversation_id}", "/chat/sessions/{session_id}/messages", "/tasks"):
        parameters = document["paths"][f"/api/v1{path}"]["get"]["parameters"]
        (found,) = [one for one in parameters if one["name"] == "as_of"]
        assert "position:4711" in found["description"]
        assert not found.get("required")
