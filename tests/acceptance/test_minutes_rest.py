"""Minutes and experts over the real server."""

import json
from pathlib import Path

import httpx
import pytest

from tests.support.databases import TestServer
from tests.support.service import running_service, script


async def test_the_minutes_of_a_conversation_come_as_json_and_as_markdown(client: httpx.AsyncClient) -> None:
    sent = (await client.post("/portal/chat", json={"message": "please compute it"})).json()
    path = f"/conversations/{sent['conversation_id']}/minutes"
    plain = await client.get(path)
    assert plain.headers["content-type"] == "application/json"
    (turn,) = plain.json()["items"]
    assert (turn["kind"], turn["question"], turn["answer"]["content"]) == (
        "turn",
        "please compute it",
        "Found: 6*7 = 42.",
    )
    assert turn["ended"]["offset"] == plain.json()["offset"]
    for options in ({"headers": {"Accept": "text/markdown"}}, {"params": {"format": "markdown"}}):
        shown = await client.get(path, **options)  # type: ignore[arg-type]
        assert shown.headers["content-type"] == "text/markdown; charset=utf-8"
        assert shown.text.startswith("# Minutes: please compute it\n")
        assert f"### Answer [#{turn['answer']['offset']}]" in shown.text
    both = await client.get(path, params={"format": "json"}, headers={"Accept": "text/markdown"})
    assert both.json() == plain.json()
    chinese = await client.get(path, params={"format": "markdown", "locale": "zh"})
    assert chinese.text.startswith("# 会议纪要：")
    one = await client.get(path, params={"task": sent["task_id"]})
    assert one.json()["items"] == [turn]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/conversations/never-was/minutes", 404),
        (f"/conversations/{'x' * 201}/minutes", 400),
        ("/conversations/mine/minutes?format=pdf", 400),
        ("/conversations/mine/minutes?task=x", 400),
        ("/conversations/mine/minutes?task=00000000-0000-4000-8000-000000000000", 404),
    ],
)
async def test_what_is_not_there_is_a_clear_error(client: httpx.AsyncClient, path: str, status: int) -> None:
    await client.post("/portal/chat", json={"message": "hello", "conversation_id": "mine"})
    response = await client.get(path)
    assert response.status_code == status
    assert response.json()["detail"]


async def test_a_deleted_conversation_has_no_minutes(client: httpx.AsyncClient) -> None:
    await client.post("/portal/chat", json={"message": "hello", "conversation_id": "gone"})
    assert (await client.get("/conversations/gone/minutes")).status_code == 200
    await client.delete("/portal/conversations/gone")
    assert (await client.get("/conversations/gone/minutes")).status_code == 404


async def test_the_experts_are_listed_with_the_defaults(client: httpx.AsyncClient) -> None:
    shown = (await client.get("/experts")).json()
    by_id = {expert["id"]: expert for expert in shown["experts"]}
    assert len(by_id) >= 10
    assert by_id["moderator"]["is_moderator"]
    assert {"name", "avatar", "color", "persona", "skills"} <= by_id["engineer"].keys()
    assert "工程师" in by_id["engineer"]["names"]
    assert len(shown["default_board"]) == 5
    assert by_id[shown["default_board"][0]]["is_moderator"]
    assert len(shown["default_team"]) == 4
    assert shown["board_rounds"] == 5


async def test_the_minutes_of_other_people_are_not_there(server: TestServer, tmp_path: Path) -> None:
    keys = [{"key": f"key-of-{user}-0123456789", "user": user} for user in ("ana", "bob")]
    settings = {"model": script(tmp_path, []), "api_keys": json.dumps(keys)}
    with server.database() as dsn, running_service(tmp_path, dsn, **settings) as service:
        async with httpx.AsyncClient(base_url=f"{service.url}/api/v1", timeout=30) as client:
            ana, bob = ({"X-API-Key": key["key"]} for key in keys)
            body = {"message": "hello", "conversation_id": "c"}
            await client.post("/portal/chat", json=body, headers=ana)
            answers = {
                name: (await client.get("/conversations/c/minutes", headers=headers)).status_code
                for name, headers in (("ana", ana), ("bob", bob), ("nobody", {}))
            }
            assert answers == {"ana": 200, "bob": 404, "nobody": 401}
            assert (await client.get("/experts")).status_code == 401
