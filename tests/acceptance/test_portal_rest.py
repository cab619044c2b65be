"""Contract section 1, REST, over the real server."""

import httpx
import pytest


async def test_chat_waits_for_the_whole_turn(client: httpx.AsyncClient) -> None:
    """`POST /portal/chat` → `{conversation_id, message, timestamp, matched_skill?, …, task_id, status}`."""
    answer = (await client.post("/portal/chat", json={"message": "please compute it"})).json()
    assert answer["message"] == "Found: 6*7 = 42."
    assert answer["status"] == "completed"
    assert {"conversation_id", "timestamp", "routing_method", "confidence", "task_id"} <= answer.keys()
    found = (await client.get(f"/portal/conversations/{answer['conversation_id']}")).json()
    user, assistant = found["messages"]
    assert (user["role"], user["content"]) == ("user", "please compute it")
    assert assistant["content"] == "Found: 6*7 = 42."
    assert assistant["thinking"] == "I will calculate."
    assert assistant["tool_calls"][0]["name"] == "calculator"
    assert assistant["routing_method"] == "default"
    assert found["title"] == "please compute it"
    assert found["is_board"] is False


async def test_an_unknown_skill_is_404_before_anything_is_written(client: httpx.AsyncClient) -> None:
    body = {"message": "hi", "skill_name": "no such skill", "conversation_id": "untouched"}
    response = await client.post("/portal/chat", json=body)
    assert response.status_code == 404
    assert "no such skill" in response.json()["detail"]
    assert (await client.get("/portal/conversations/untouched")).status_code == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"message": ""}, 400),
        ({"message": "   "}, 400),
        ({}, 400),
        ({"message": 5}, 400),
        ({"message": "a", "conversation_id": "a/b"}, 400),
        ({"message": "a", "conversation_id": "x" * 201}, 400),
        ({"message": "a" * 300_000}, 413),
        ({"message": "@board"}, 400),
    ],
)
async def test_bad_bodies_get_a_sentence(
    client: httpx.AsyncClient, body: dict[str, object], status: int
) -> None:
    response = await client.post("/portal/chat", json=body)
    assert response.status_code == status
    detail = response.json()["detail"]
    assert detail
    assert "Traceback" not in detail


async def test_what_is_not_json_is_refused(client: httpx.AsyncClient) -> None:
    for content in (b"{", b"\xff\xfe", b"[" * 20_000):
        response = await client.post(
            "/portal/chat", content=content, headers={"Content-Type": "application/json"}
        )
        assert response.status_code == 400
        assert "Traceback" not in response.text


async def test_titles_are_cut_and_newest_come_first(client: httpx.AsyncClient) -> None:
    """First user message, cut at 20 characters with `...` behind if cut."""
    for number, message in enumerate(("a message of more than twenty characters", "short one")):
        await client.post("/portal/chat", json={"message": message, "conversation_id": f"title {number}"})
    listed = (await client.get("/portal/conversations?limit=2")).json()
    assert [entry["title"] for entry in listed] == ["short one", "a message of more th..."]
    assert listed[0].keys() >= {"id", "title", "created_at", "updated_at", "message_count", "is_board"}
    assert listed[0]["message_count"] == 2


async def test_a_deleted_conversation_is_gone_from_the_views_and_stays_in_the_log(
    client: httpx.AsyncClient,
) -> None:
    await client.post("/portal/chat", json={"message": "forget me", "conversation_id": "gone"})
    assert (await client.delete("/portal/conversations/gone")).json() == {"deleted": True, "id": "gone"}
    assert (await client.get("/portal/conversations/gone")).status_code == 404
    assert (await client.delete("/portal/conversations/gone")).status_code == 404
    assert "gone" not in [entry["id"] for entry in (await client.get("/portal/conversations")).json()]
    events = (await client.get("/conversations/gone/events")).json()["events"]
    assert events[-1]["type"] == "conversation.deleted"
    assert any(event["payload"].get("content") == "forget me" for event in events)
    await client.post("/portal/chat", json={"message": "a new start", "conversation_id": "gone"})
    found = (await client.get("/portal/conversations/gone")).json()
    assert next(message["content"] for message in found["messages"]) == "a new start"
    assert len(found["messages"]) == 2


async def test_capabilities_name_the_eight_categories(client: httpx.AsyncClient) -> None:
    found = (await client.get("/portal/capabilities")).json()["capabilities"]
    assert [entry["name"] for entry in found] == [
        "chat",
        "workflow",
        "knowledge",
        "skills",
        "terminal",
        "computer_use",
        "evolution",
        "settings",
    ]
    expected = {"name", "display_name", "description", "icon", "enabled", "skill_count"}
    assert all(expected <= entry.keys() <= expected | {"skills"} for entry in found)


async def test_an_uploaded_text_is_kept_and_given_back_as_an_attachment(client: httpx.AsyncClient) -> None:
    """Section 2: `POST /chat/upload`, `GET /chat/uploads/{stored_name}`."""
    files = {"file": ("../notes.txt", b"these are notes", "text/plain")}
    uploaded = (await client.post("/chat/upload", files=files)).json()
    assert uploaded["filename"] == "notes.txt"
    assert uploaded["size"] == 15
    response = await client.get(uploaded["download_url"].removeprefix("/api/v1"))
    assert response.content == b"these are notes"
    assert response.headers["content-disposition"].startswith("attachment")
    for name in ("..%2f..%2fetc%2fpasswd", "0" * 32, "x"):
        assert (await client.get(f"/chat/uploads/{name}")).status_code == 404
    too_large = {"file": ("big.bin", b"x" * (10 * 1024 * 1024 + 1))}
    assert (await client.post("/chat/upload", files=too_large)).status_code == 413
    assert (await client.post("/chat/upload", data={"file": "no file"})).status_code == 400


async def test_health_and_readiness(client: httpx.AsyncClient) -> None:
    root = str(client.base_url).removesuffix("/api/v1/")
    assert (await client.get(f"{root}/health")).json() == {"status": "ok"}
    ready = (await client.get(f"{root}/ready")).json()
    assert ready["status"] == "ok"
    assert set(ready["views"]) >= {"conversations", "transcript", "tasks"}
