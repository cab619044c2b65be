"""Contract section 9: two members who use the same ids of conversations, sessions, messages and files do not meet.

Ana and Bob do the very same things under the very same ids, wherever a client can say one of its own; then each finds
all of their own and nothing of the other's.
"""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import psycopg
import pytest

import projections
from tests.support.chat import chat, told
from tests.support.databases import TestServer
from tests.support.portal import portal
from tests.support.service import Service, running_service, script

KEYS = {user: f"key-of-{user}-0123456789" for user in ("ana", "bob")}
OTHER = {"ana": "bob", "bob": "ana"}
TALK, SESSION = "the-same-conversation", "the-same-session"
RULES: list[dict[str, Any]] = [
    {
        "when": {"last_user_contains": "find it", "step": 0},
        "answer": {"tool_calls": [{"name": "search", "arguments": {"query": "treasure"}}]},
    },
    {
        "when": {"last_user_contains": "read it", "step": 0},
        "answer": {"tool_calls": [{"name": "read_upload", "arguments": {"name": "map.txt"}}]},
    },
    {"when": {"last_role": "tool"}, "answer": {"text": "I see: {last_tool}"}},
]

Clients = dict[str, httpx.AsyncClient]
Said = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def service(server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("same")
    keys = [{"key": key, "user": user, "role": "member"} for user, key in KEYS.items()]
    with (
        server.database() as dsn,
        running_service(folder, dsn, model=script(folder, RULES), api_keys=json.dumps(keys)) as running,
    ):
        yield running


@pytest.fixture
async def users(service: Service) -> AsyncIterator[Clients]:
    async with AsyncExitStack() as stack:
        yield {
            user: await stack.enter_async_context(service.client(headers={"X-API-Key": key}))
            for user, key in KEYS.items()
        }


def shown(user: str) -> dict[str, dict[str, str]]:
    return {"additional_headers": {"X-API-Key": KEYS[user]}}


async def both_do_the_same(service: Service, users: Clients) -> Said:
    """Turn about. What each was answered over REST."""
    said: Said = {}
    for user, client in users.items():
        text = f"{user} buried the treasure"
        body = {"message": text, "conversation_id": TALK, "client_message_id": "the-same-message"}
        said[user] = (await client.post("/portal/chat", json=body)).json()
        opened = await client.post("/chat/sessions", json={"agent_name": "assistant", "session_id": SESSION})
        assert opened.status_code == 201, opened.text
        name = await client.patch(f"/chat/sessions/{SESSION}", json={"title": f"{user}'s title"})
        assert name.status_code == 200
        form = {
            "files": {"file": ("map.txt", f"{user}'s map".encode())},
            "data": {"conversation_id": SESSION},
        }
        assert (await client.post("/chat/upload", **form)).status_code == 201
        rest = {"content": f"{user} over REST", "client_message_id": "the-same-message"}
        assert (await client.post(f"/chat/sessions/{SESSION}/messages", json=rest)).status_code == 200
    for user in users:
        async with portal(service, **shown(user)) as line:
            await line.turn(f"{user} over the portal", conversation_id=TALK, client_message_id="another")
        async with chat(service, SESSION, **shown(user)) as session:
            await told(session, f"{user} over the socket", client_message_id="another")
    return said


async def test_nobody_meets_the_other_at_any_surface(service: Service, users: Clients) -> None:
    """REST, both sockets, the feed, sessions, tasks, minutes, files, tools, the views, a deletion. Guard: without the
    owner in the name of a stream (`app/core/streams.py`) Bob's first message is Ana's, answered again."""
    said = await both_do_the_same(service, users)
    assert said["ana"]["task_id"] != said["bob"]["task_id"]
    for user, client in users.items():
        other = OTHER[user]
        assert said[user]["message"] == f"You said: {user} buried the treasure"
        for path in (
            f"/portal/conversations/{TALK}",
            f"/portal/conversations/{SESSION}",
            f"/conversations/{TALK}/events",
            f"/conversations/{SESSION}/events",
            f"/conversations/{TALK}/minutes",
            f"/conversations/{SESSION}/minutes?format=markdown",
            f"/chat/sessions/{SESSION}",
            f"/chat/sessions/{SESSION}/messages",
            f"/chat/sessions/{SESSION}/openai-messages",
            f"/tasks?conversation_id={TALK}",
            f"/tasks?conversation_id={SESSION}",
            "/portal/conversations",
            "/chat/sessions",
            f"/tasks/{said[user]['task_id']}",
        ):
            found = await client.get(path)
            assert found.status_code == 200, (path, found.text)
            assert user in found.text, path
            assert other not in found.text, path
        await _files(client, user)
        await _tools(client, user)
        await _sockets(service, user, said)
        assert (await client.get(f"/tasks/{said[other]['task_id']}")).status_code == 404
    _views_have_both(service)
    assert (await users["ana"].delete(f"/portal/conversations/{TALK}")).status_code == 200
    assert (await users["ana"].delete(f"/chat/sessions/{SESSION}")).status_code == 200
    assert (await users["bob"].get(f"/portal/conversations/{TALK}")).status_code == 200
    assert (await users["bob"].get(f"/chat/sessions/{SESSION}")).json()["status"] == "active"


async def _files(client: httpx.AsyncClient, user: str) -> None:
    (file,) = (await client.get("/chat/uploads", params={"conversation_id": SESSION})).json()["files"]
    assert (await client.get(f"/chat/uploads/{file['stored_name']}")).text == f"{user}'s map"


async def _tools(client: httpx.AsyncClient, user: str) -> None:
    for content, wanted in (("please find it", "buried the treasure"), ("please read it", "map")):
        answer = await client.post(f"/chat/sessions/{SESSION}/messages", json={"content": content})
        seen = answer.json()["content"]
        assert user in seen, seen
        assert wanted in seen, seen
        assert OTHER[user] not in seen, seen


async def _sockets(service: Service, user: str, said: Said) -> None:
    """What a socket tells that begins at the start is one's own; the other's task is none of the same conversation."""
    other = OTHER[user]
    for path in (f"/api/v1/conversations/{TALK}/feed?after=0", f"/api/v1/chat/ws/{SESSION}?after=0"):
        async with portal(service, path, **shown(user)) as line:
            await line.send(type="ping")
            await line.until(lambda _: f"{user} over" in json.dumps(line.frames))
            assert other not in json.dumps(line.frames)
    async with portal(service, **shown(user)) as line:
        await line.send(type="resume", task_id=said[other]["task_id"], conversation_id=TALK)
        assert (await line.receive())["type"] == "error"
        await line.send(type="resume", task_id=said[user]["task_id"], conversation_id=TALK)
        frames = await line.until(lambda frame: frame["type"] == "result")
        assert user in frames[-1]["data"]["message"]


def _views_have_both(service: Service) -> None:
    """Every view that knows conversations has the same number of rows of either. Guard: a view whose key lacks the
    owner."""
    assert service.dsn is not None
    views = [one for one in projections.ALL if "conversation_id" in one.row.__struct_fields__]
    assert {"conversations", "transcript", "tasks", "sessions", "files"} <= {view.name for view in views}
    with psycopg.connect(service.dsn) as connection:
        for view in views:
            query = (
                f"SELECT owner, conversation_id, count(*) FROM {view.name} WHERE conversation_id = ANY(%s) "
                "GROUP BY 1, 2"
            )
            rows = connection.execute(query.encode(), ([TALK, SESSION],)).fetchall()
            counts = {user: {place: n for owner, place, n in rows if owner == user} for user in KEYS}
            assert counts["ana"] == counts["bob"], (view.name, rows)
            if view.name != "reminders":
                assert counts["ana"], view.name
