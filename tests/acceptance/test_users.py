"""Contract section 9 over two real processes on one database: keys, roles, tokens, and what each may see."""

import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, suppress
from typing import Any
from uuid import uuid4

import httpx
import jwt
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.support.databases import TestServer
from tests.support.portal import Portal, portal
from tests.support.service import Service, running_service, script

ROOT_KEY = "key-of-root-0123456789"
SECRET = "a secret of thirty-two bytes or more"
USERS = {"ana": "member", "bob": "member", "eve": "auditor"}
CLOSED_UNAUTHORIZED = 4001

Pair = tuple[Service, Service]
Clients = dict[str, httpx.AsyncClient]


@pytest.fixture(scope="module")
def pair(server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two processes on one database, as loud as can be."""
    folder = tmp_path_factory.mktemp("users")
    settings = {
        "model": script(folder, []),
        "api_keys": json.dumps([{"key": ROOT_KEY, "user": "root", "role": "admin"}]),
        "jwt_secret": SECRET,
        "feed_heartbeat_seconds": "1",
        "log_level": "debug",
    }
    with (
        server.database() as dsn,
        running_service(folder / "here", dsn, **settings) as here,
        running_service(folder / "there", dsn, **settings) as there,
    ):
        _add_users(here)
        yield here, there


def _add_users(service: Service) -> None:
    with httpx.Client(base_url=service.url + "/api/v1", headers=key(ROOT_KEY), timeout=30) as root:
        for user, role in USERS.items():
            added = root.post("/admin/users", json={"user_id": user, "role": role})
            assert added.status_code == 201, added.text


def key(secret: str) -> dict[str, str]:
    return {"X-API-Key": secret}


def shown(client: httpx.AsyncClient) -> dict[str, str]:
    """The key of a client, for its sockets."""
    return key(client.headers["x-api-key"])


async def issued(root: httpx.AsyncClient, user: str, **more: Any) -> tuple[str, str]:
    """A new key of the user, and its id."""
    answer = await root.post("/admin/keys", json={"user_id": user, **more})
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return answer.json()["key"], answer.json()["details"]["key_id"]


@pytest.fixture
async def users(pair: Pair) -> AsyncIterator[Clients]:
    """A client of each user, root's on the first process and the others' on the second, and `there`: root's there."""
    here, there = pair
    async with AsyncExitStack() as stack:
        root = await stack.enter_async_context(here.client(headers=key(ROOT_KEY)))
        clients = {"root": root}
        for user in USERS:
            secret, _ = await issued(root, user)
            clients[user] = await stack.enter_async_context(there.client(headers=key(secret)))
        yield clients


async def closed_with(line: Portal) -> int:
    """How the server has closed the socket, after whatever it sent before."""
    with suppress(ConnectionClosed):
        while True:
            await line.receive()
    assert line.connection.close_code is not None
    return line.connection.close_code


async def chat(client: httpx.AsyncClient, conversation_id: str, message: str) -> httpx.Response:
    return await client.post("/portal/chat", json={"message": message, "conversation_id": conversation_id})


async def test_two_members_with_the_same_conversation_id_do_not_collide(users: Clients) -> None:
    """Section 9: "A member sees only their own conversations"."""
    same = f"same-{uuid4()}"
    for user in ("ana", "bob"):
        answer = await chat(users[user], same, f"I am {user}, remember")
        assert answer.status_code == 200, answer.text
    for user in ("ana", "bob"):
        found = (await users[user].get(f"/portal/conversations/{same}")).json()
        assert [message["content"] for message in found["messages"]] == [
            f"I am {user}, remember",
            f"You said: I am {user}, remember",
        ]
        listed = (await users[user].get("/portal/conversations")).json()
        assert [one["title"] for one in listed if one["id"] == same] == [found["title"]]
        minutes = await users[user].get(f"/conversations/{same}/minutes?format=markdown")
        other = "bob" if user == "ana" else "ana"
        assert f"I am {user}" in minutes.text
        assert f"I am {other}" not in minutes.text
    await users["ana"].delete(f"/portal/conversations/{same}")
    assert (await users["bob"].get(f"/portal/conversations/{same}")).status_code == 200


async def test_an_auditor_reads_all_and_writes_nothing(pair: Pair, users: Clients) -> None:
    """Section 9: "auditor (reads everything, changes nothing)"."""
    conversation = f"audited-{uuid4()}"
    await chat(users["ana"], conversation, "a secret of ana's")
    eve = users["eve"]
    for path in (
        f"/portal/conversations/{conversation}",
        f"/conversations/{conversation}/events",
        f"/conversations/{conversation}/minutes",
        "/portal/conversations",
        "/admin/users",
        "/admin/keys",
        "/admin/departments",
        "/admin/quotas",
        "/keys",
    ):
        read = await eve.get(path, params={"owner": "ana"})
        assert read.status_code == 200, (path, read.text)
        if conversation in path:
            assert "a secret of ana" in read.text
    path = f"/api/v1/conversations/{conversation}/feed?owner=ana"
    async with portal(pair[1], path, additional_headers=shown(eve)) as line:
        assert (await line.receive())["type"] == "resumed"
        assert "a secret of ana" in json.dumps(await line.receive())
    before = (await eve.get(f"/conversations/{conversation}/events?owner=ana")).json()["cursor"]
    for method, path, body in (
        ("POST", "/portal/chat", {"message": "hello", "conversation_id": conversation}),
        ("POST", "/portal/chat/stream", {"message": "hello"}),
        ("POST", "/chat/sessions", {"agent_name": "assistant"}),
        ("DELETE", f"/portal/conversations/{conversation}?owner=ana", None),
        ("POST", "/keys", {}),
        ("POST", "/admin/users", {"user_id": "mallory"}),
        ("POST", "/admin/keys", {"user_id": "eve"}),
        ("PATCH", "/admin/users/eve", {"role": "admin"}),
        ("PUT", "/admin/quotas", None),
        ("POST", "/admin/users", {"nonsense": True}),
    ):
        answer = await eve.request(method, path, json=body)
        assert answer.status_code == 403, (method, path, answer.text)
        assert "auditor" in answer.json()["detail"]
    async with portal(pair[1], additional_headers=shown(eve)) as line:
        (refused,) = await line.turn("hello", conversation_id=conversation)
        assert refused["type"] == "error"
    assert (await eve.get(f"/conversations/{conversation}/events?owner=ana")).json()["cursor"] == before
    assert (await eve.get("/portal/conversations")).json() == []
    assert "mallory" not in (await eve.get("/admin/users")).text


async def test_a_key_that_is_revoked_dies_at_once_on_the_other_process_with_its_sockets(
    pair: Pair, users: Clients
) -> None:
    """Section 9. Its sockets are closed with 4001, a stream ends, and its other sockets and keys live on."""
    here, there = pair
    secret, key_id = await issued(users["root"], "ana", name="laptop")
    conversation = f"revoked-{uuid4()}"
    feed = f"/api/v1/conversations/{conversation}/feed"
    async with AsyncExitStack() as stack:
        ana = await stack.enter_async_context(there.client(headers=key(secret)))
        await chat(ana, conversation, "hello there")
        lines = [
            await stack.enter_async_context(portal(service, path, additional_headers=key(secret)))
            for service in (here, there)
            for path in ("/api/v1/portal/ws", feed)
        ]
        other = await stack.enter_async_context(portal(there, additional_headers=shown(users["ana"])))
        stream = await stack.enter_async_context(
            ana.stream(
                "GET", f"/conversations/{conversation}/events", headers={"accept": "text/event-stream"}
            )
        )
        for line in lines:
            await line.send(type="ping")
            await line.until(lambda frame: frame["type"] == "pong")
        revoked = await users["root"].delete(f"/admin/keys/{key_id}", params={"reason": "lost"})
        assert revoked.status_code == 200
        refused = await ana.get("/portal/conversations")
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"] == "Bearer"
        assert [await closed_with(line) for line in lines] == [CLOSED_UNAUTHORIZED] * 4
        assert [chunk async for chunk in stream.aiter_bytes()], "the stream has ended"
        await other.send(type="ping")
        assert (await other.receive())["type"] == "pong"
    assert (await users["ana"].get("/portal/conversations")).status_code == 200
    listed = (await users["root"].get("/admin/keys", params={"user_id": "ana"})).json()["keys"]
    (found,) = (one for one in listed if one["key_id"] == key_id)
    assert (found["revoked_by"], found["reason"], found["name"]) == ("user:root", "lost", "laptop")
    assert found["last_used_at"] is not None


async def test_whoever_is_disabled_is_gone_at_once_and_back_when_enabled(pair: Pair, users: Clients) -> None:
    root, ana = users["root"], users["ana"]
    async with portal(pair[1], additional_headers=shown(ana)) as line:
        await line.send(type="ping")
        await line.receive()
        assert (await root.patch("/admin/users/ana", json={"disabled": True})).status_code == 200
        assert (await ana.get("/portal/conversations")).status_code == 401
        assert await closed_with(line) == CLOSED_UNAUTHORIZED
    assert (await root.patch("/admin/users/ana", json={"disabled": False})).status_code == 200
    assert (await ana.get("/portal/conversations")).status_code == 200


async def test_somebody_elses_things_look_as_if_they_did_not_exist(pair: Pair, users: Clients) -> None:
    """The same status and the same sentence as for what there never was."""
    root, bob = users["root"], users["bob"]
    foreign, never = f"foreign-{uuid4()}", f"never-{uuid4()}"
    task_id = (await chat(users["ana"], foreign, "mine alone")).json()["task_id"]
    _, foreign_key = await issued(root, "ana")
    calls = [
        ("GET", "/portal/conversations/{}", (foreign, never)),
        ("DELETE", "/portal/conversations/{}", (foreign, never)),
        ("GET", "/conversations/{}/events", (foreign, never)),
        ("GET", "/conversations/{}/events?wait=1", (foreign, never)),
        ("GET", "/conversations/{}/minutes", (foreign, never)),
        ("GET", "/portal/conversations?owner={}", ("ana", "nobody")),
        (f"GET {foreign}", "/portal/conversations/" + foreign + "?owner={}", ("ana", "nobody")),
        ("GET", "/conversations/" + foreign + "/events?owner={}", ("ana", "nobody")),
        ("GET", "/conversations/" + foreign + "/minutes?owner={}", ("ana", "nobody")),
        ("DELETE", "/keys/{}", (foreign_key, str(uuid4()))),
        ("GET", "/admin/users/{}", ("ana", "nobody")),
        ("GET", "/admin/{}", ("users", "nothing-of-that-name")),
        ("POST", "/admin/{}", ("users", "nothing-of-that-name")),
        ("DELETE", "/admin/keys/{}", (foreign_key, str(uuid4()))),
    ]
    for method, path, names in calls:
        answers = [await bob.request(method.split()[0], path.format(name)) for name in names]
        assert {answer.status_code for answer in answers} == {404}, (method, path, answers[0].text)
        texts = {a.text.replace(name, "IT") for a, name in zip(answers, names, strict=True)}
        assert len(texts) == 1, (method, path, texts)
    for path, names in (
        ("/api/v1/conversations/{}/feed", (foreign, never)),
        (f"/api/v1/conversations/{foreign}/feed?owner={{}}", ("ana", "nobody")),
    ):
        frames = []
        for name in names:
            async with portal(pair[1], path.format(name), additional_headers=shown(bob)) as line:
                frames.append(json.dumps(await line.receive()).replace(name, "IT"))
                assert await closed_with(line) == 1008
        assert frames[0] == frames[1]
    async with portal(pair[1], additional_headers=shown(bob)) as line:
        answers = []
        for task, conversation in ((task_id, foreign), (str(uuid4()), never)):
            await line.send(type="resume", task_id=task, conversation_id=conversation)
            answers.append(await line.receive())
        assert answers[0] == answers[1]
        assert answers[0]["type"] == "error"
    assert (await users["ana"].get(f"/portal/conversations/{foreign}")).status_code == 200


async def test_a_member_issues_and_revokes_keys_of_their_own_within_what_they_have(
    pair: Pair, users: Clients
) -> None:
    ana = users["ana"]
    made = await ana.post("/keys", json={"name": "reader", "scopes": ["read"]})
    assert made.status_code == 201
    details, secret = made.json()["details"], made.json()["key"]
    assert (details["scopes"], details["user_id"], details["service"]) == (["read"], "ana", False)
    async with pair[0].client(headers=key(secret)) as reader:
        assert (await reader.get("/portal/conversations")).status_code == 200
        for method, path, body in (
            ("POST", "/portal/chat", {"message": "hello"}),
            ("POST", "/keys", {"scopes": ["read"]}),
            ("DELETE", f"/keys/{details['key_id']}", None),
        ):
            refused = await reader.request(method, path, json=body)
            assert refused.status_code == 403, refused.text
            assert "write" in refused.json()["detail"]
        beyond = await ana.post("/keys", json={"scopes": ["admin"]})
        assert beyond.status_code == 400
        assert (await ana.post("/keys", json={"service": True})).status_code == 400
        listed = (await ana.get("/keys")).json()
        assert {one["user_id"] for one in listed["keys"]} == {"ana"}
        assert secret not in json.dumps(listed)
        assert (await ana.delete(f"/keys/{details['key_id']}")).status_code == 200
        assert (await reader.get("/portal/conversations")).status_code == 401


async def test_an_admins_key_without_the_scope_admin_administers_nothing(pair: Pair, users: Clients) -> None:
    root = users["root"]
    await root.post("/admin/users", json={"user_id": "second", "role": "admin"})
    secret, _ = await issued(root, "second", scopes=["write"])
    async with pair[1].client(headers=key(secret)) as second:
        assert (await second.get("/admin/users")).status_code == 200
        refused = await second.patch("/admin/users/ana", json={"role": "admin"})
        assert refused.status_code == 403
        assert "admin" in refused.json()["detail"]
        assert (await second.post("/keys", json={"scopes": ["admin"]})).status_code == 400
    assert (await users["ana"].get("/admin/users")).status_code == 404


async def test_departments_and_quotas_are_kept_with_their_author(users: Clients) -> None:
    root, eve = users["root"], users["eve"]
    assert (await root.post("/admin/departments", json={"department_id": "law"})).status_code == 201
    moved = await root.patch("/admin/users/bob", json={"department_id": "law"})
    assert moved.json()["department_id"] == "law"
    quota = {
        "subject": "department",
        "subject_id": "law",
        "quota_type": "tokens",
        "period": "day",
        "limit": 10**6,
    }
    assert (await root.put("/admin/quotas", json=quota)).json() == quota
    assert (await eve.get("/admin/quotas?subject_id=law")).json()["quotas"] == [quota]
    members = (await eve.get("/admin/users?department_id=law")).json()
    assert ([one["user_id"] for one in members["users"]], members["total"]) == (["bob"], 1)
    gone = await root.delete("/admin/quotas/department/law/tokens/day")
    assert gone.json() == {"removed": True, "id": "department/law/tokens/day"}
    assert (await root.delete("/admin/quotas/department/law/tokens/day")).status_code == 404
    assert (await root.delete("/admin/departments/law")).status_code == 200
    assert (await root.get("/admin/users/bob")).json()["department_id"] == ""


async def test_lists_go_page_by_page(users: Clients) -> None:
    root = users["root"]
    for number in range(5):
        await root.post("/admin/users", json={"user_id": f"page-{number}"})
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await root.get("/admin/users", params={"limit": 2, **cursor})).json()
        seen += [one["user_id"] for one in page["users"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert seen == sorted(seen)
    assert len(seen) == page["total"] == len(set(seen))
    wrong = await root.get("/admin/users", params={"cursor": "nobody"})
    assert wrong.status_code == 400


async def test_a_token_is_as_good_as_a_key_until_it_expires(pair: Pair, users: Clients) -> None:
    """Section 9: "JWTs in `Authorization: Bearer` or `token=`"."""

    def token(secret: str = SECRET, **claims: Any) -> str:
        now = int(time.time())
        return jwt.encode({"sub": "tina", "iat": now, "exp": now + 600, **claims}, secret, algorithm="HS256")

    async with pair[0].client() as client:
        good = await client.get("/portal/conversations", headers={"Authorization": f"Bearer {token()}"})
        assert good.status_code == 200
        assert (await client.get(f"/portal/conversations?token={token()}")).status_code == 200
        assert (await client.get(f"/admin/users?token={token(role='auditor')}")).status_code == 200
        assert (await client.get(f"/admin/users?token={token(sub='ana', role='admin')}")).status_code == 404
        for wrong in (token("another secret of thirty-two bytes"), token(exp=1), "x"):
            assert (await client.get(f"/portal/conversations?token={wrong}")).status_code == 401
        own = await client.post("/keys", headers={"Authorization": f"Bearer {token()}"}, json={})
        assert own.status_code == 409
        assert "tina" in own.json()["detail"]
    async with portal(pair[0], f"/api/v1/portal/ws?token={token()}") as line:
        frames = await line.turn("hello with a token")
        assert frames[-1]["type"] == "result"
    soon = token(exp=int(time.time()) + 2)
    async with portal(pair[0], f"/api/v1/portal/ws?token={soon}") as line:
        assert await closed_with(line) == CLOSED_UNAUTHORIZED


async def test_a_key_in_a_url_never_reaches_a_log(pair: Pair, users: Clients) -> None:
    """Whatever is called and however it ends, also with the log as loud as can be. Guard: with uvicorn's access log
    this finds the keys."""
    here = pair[0]
    good, _ = await issued(users["root"], "ana")
    wrong = "mb_wrong" + good[3:]
    bearer = jwt.encode({"sub": "ana", "iat": 1, "exp": 1}, SECRET, algorithm="HS256")
    async with here.client() as client:
        for credential in (f"api_key={good}", f"api_key={wrong}", f"token={bearer}"):
            for method, path, body in (
                ("GET", "/portal/conversations", None),
                ("GET", "/portal/conversations?limit=nonsense", None),
                ("GET", "/portal/conversations?owner=nobody", None),
                ("GET", "/nothing/of/that/name", None),
                ("DELETE", "/portal/conversations", None),
                ("POST", "/portal/chat", b'{"message":'),
                ("POST", "/portal/chat", b"\xff"),
                ("POST", "/portal/chat", b'{"message": "hello", "skill_name": "no-such-skill"}'),
            ):
                sign = "&" if "?" in path else "?"
                await client.request(method, f"{path}{sign}{credential}", content=body)
            await client.get(f"{here.url}/?{credential}")
            await client.get(f"{here.url}/health?{credential}")
            for path in ("/api/v1/portal/ws", "/api/v1/conversations/none/feed", "/api/v1/nothing"):
                with suppress(ConnectionClosed, InvalidStatus):
                    async with portal(here, f"{path}?{credential}") as line:
                        await line.send(type="nonsense")
                        await line.receive()
    for secret in (good, wrong, bearer, good[3:], ROOT_KEY, SECRET):
        for service in pair:
            output = "".join(service.output)
            assert output
            assert secret not in output
