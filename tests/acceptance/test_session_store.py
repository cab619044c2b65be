"""Contract sections 2 and 7: sessions as a store of OpenAI-shaped messages, over two nodes of the real service."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import real
from tests.support.chat import ASKING, chat, of_type, opened, told
from tests.support.databases import TestServer
from tests.support.openai_types import demand_sendable
from tests.support.service import Service, running_service, script
from tests.support.talks import CONCLUSION, RULES_OF_BOARDS, RULES_OF_TEAMS

CALL = {"id": "call-1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
KEYS = {
    user: {"X-API-Key": f"key-of-{user}-0123456789"} for user in ("ana", "bob", "eve", "root", "lisa", "mia")
}
ROLES = {"eve": "auditor", "root": "admin"}
PARALLEL = [
    {"name": "calculator", "arguments": {"expression": "1+1"}},
    {"name": "calculator", "arguments": {"expression": "2+2"}},
]
PAINTING = [{"name": "render", "arguments": {"what": "boat"}}]
RULES: list[dict[str, Any]] = [
    *RULES_OF_BOARDS,
    *RULES_OF_TEAMS,
    {"when": {"messages_contain": "Always say Ahoy", "last_user_contains": "greet"}, "answer": {"text": "Ahoy!"}},
    {"when": {"messages_contain": "the sea is salty", "last_user_contains": "fact"}, "answer": {"text": "Salty."}},
    {"when": {"last_user_contains": "two at once", "step": 0}, "answer": {"tool_calls": PARALLEL}},
    {"when": {"last_user_contains": "two at once"}, "answer": {"text": "Two and four."}},
    {"when": {"last_user_contains": "paint it", "step": 0}, "answer": {"tool_calls": PAINTING}},
    {"when": {"last_user_contains": "paint it"}, "answer": {"text": "{last_tool}"}},
    *ASKING,
]  # fmt: skip
AGENT_FILE = """
name = "sailor"
description = "Knows boats."
mode = "direct_chat"
"""


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The tool `render` is done when this file is there."""
    file = tmp_path_factory.mktemp("gate") / "gate"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "RENDER_GATE", str(file))
        yield file


@pytest.fixture(scope="module")
def nodes(
    server: TestServer, tmp_path_factory: pytest.TempPathFactory, gate: Path
) -> Iterator[tuple[Service, Service]]:
    folder = tmp_path_factory.mktemp("store")
    (folder / "agents").mkdir()
    (folder / "agents" / "sailor.toml").write_text(AGENT_FILE, encoding="utf-8")
    keys = [
        {"key": key["X-API-Key"], "user": user, "role": ROLES.get(user, "member")}
        for user, key in KEYS.items()
    ]
    settings = {
        "model": script(folder, RULES),
        "api_keys": json.dumps(keys),
        "agents_dir": str(folder / "agents"),
        "shell": "true",
        "feed_heartbeat_seconds": "1",
    }
    with (
        server.database() as dsn,
        running_service(folder, dsn, module="tests.support.rendering", **settings) as first,
        running_service(folder, dsn, module="tests.support.rendering", **settings) as second,
    ):
        yield first, second


@pytest.fixture
def here(nodes: tuple[Service, Service]) -> Service:
    return nodes[0]


@pytest.fixture
async def client(here: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with here.client(headers=KEYS["ana"]) as opened_client:
        yield opened_client


async def post(client: httpx.AsyncClient, session_id: str, **body: Any) -> httpx.Response:
    return await client.post(f"/chat/sessions/{session_id}/messages", json=body)


async def openai_messages(client: httpx.AsyncClient, session_id: str) -> list[dict[str, Any]]:
    """The session's messages, after a check that the client takes them."""
    response = await client.get(f"/chat/sessions/{session_id}/openai-messages")
    assert response.status_code == 200, response.text
    return demand_sendable(response.json())


async def test_a_message_of_any_other_role_is_added_and_the_agent_is_shown_it_next(
    client: httpx.AsyncClient,
) -> None:
    """Section 7: roles developer, system, user, assistant, tool (and function); `name`, `tool_call_id`, `refusal`,
    `tool_calls`. `POST …/messages` answers 201 with the message; 200 where an agent answers."""
    session_id = await opened(client)
    parts = [
        {"type": "text", "text": "the sea is salty"},
        {"type": "image_url", "image_url": {"url": "data:,"}},
    ]
    added: list[dict[str, Any]] = [
        {"role": "developer", "content": "Always say Ahoy", "name": "ops"},
        {"role": "system", "content": [{"type": "text", "text": "Be kind."}]},
        {"role": "user", "content": parts, "run": False},
        {"role": "assistant", "tool_calls": [CALL]},
        {"role": "tool", "content": "42", "tool_call_id": "call-1"},
        {"role": "function", "content": "old", "name": "f"},
        {"role": "assistant", "refusal": "I will not."},
    ]
    for message in added:
        response = await post(client, session_id, **message)
        assert response.status_code == 201, response.text
        assert response.json()["role"] == message["role"]
    assert (await post(client, session_id, content="greet me")).json()["content"] == "Ahoy!"
    answer = await post(client, session_id, content=[{"type": "text", "text": "a fact"}])
    assert (answer.status_code, answer.json()["content"]) == (200, "Salty.")
    shown = (await client.get(f"/chat/sessions/{session_id}/messages")).json()
    assert [message["role"] for message in shown] == [
        *(message["role"] for message in added), "user", "assistant", "user", "assistant",
    ]  # fmt: skip
    assert shown[0].items() >= {"content": "Always say Ahoy", "name": "ops"}.items()
    assert shown[2]["content"] == "the sea is salty\n[image_url]"
    assert shown[3]["metadata"]["tool_calls"][0].items() >= {"name": "f", "result": "42"}.items()
    assert shown[4]["tool_call_id"] == "call-1"
    assert shown[6]["refusal"] == shown[6]["content"] == "I will not."
    kept = await openai_messages(client, session_id)
    assert kept[2] == {"role": "user", "content": parts}
    assert kept[3:5] == [
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "content": "42", "tool_call_id": "call-1"},
    ]
    assert kept[7:] == [
        {"role": "user", "content": "greet me"},
        {"role": "assistant", "content": "Ahoy!"},
        {"role": "user", "content": "a fact"},
        {"role": "assistant", "content": "Salty."},
    ]
    portal = (await client.get(f"/portal/conversations/{session_id}")).json()
    assert [one["content"] for one in portal["messages"]][:2] == ["the sea is salty\n[image_url]", ""]


@pytest.mark.parametrize(
    ("body", "status", "named"),
    [
        ({"role": "robot", "content": "x"}, 400, "robot"),
        ({"role": "tool", "content": "x"}, 400, "tool_call_id"),
        ({"role": "tool", "content": "x", "tool_call_id": "never was"}, 400, "never was"),
        ({"role": "assistant"}, 400, "content"),
        ({"role": "assistant", "tool_calls": []}, 400, "content"),
        (
            {"role": "assistant", "tool_calls": [{**CALL, "function": {"name": "", "arguments": ""}}]},
            400,
            "tool_calls[0].function.name",
        ),
        ({"role": "assistant", "tool_calls": [{"id": "c"}]}, 400, "tool_calls[0].type"),
        ({"role": "user", "content": [{"type": "hologram"}], "run": False}, 400, "hologram"),
        ({"role": "user", "content": "x", "refusal": "no"}, 400, "refusal"),
        ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}, 400, "run: false"),
        ({"role": "system", "content": "x", "run": True}, 400, "run"),
        ({"role": "system", "content": "x", "execution_mode": "react"}, 400, "execution_mode"),
        ({"role": "system", "content": "x" * 1_100_000}, 413, "1000000"),
        ({"content": None}, 400, "content"),
    ],
)
async def test_a_bad_message_gets_a_sentence_and_nothing_is_stored(
    client: httpx.AsyncClient, body: dict[str, Any], status: int, named: str
) -> None:
    session_id = await opened(client)
    response = await post(client, session_id, **body)
    assert response.status_code == status, response.text
    assert named in response.json()["detail"]
    assert await openai_messages(client, session_id) == []


async def test_many_messages_are_added_at_once_all_or_none_and_once(client: httpx.AsyncClient) -> None:
    """`POST …/openai-messages`: the client's own id makes it one append, however often it is sent."""
    session_id = await opened(client)
    path = f"/chat/sessions/{session_id}/openai-messages"
    messages = [
        {"role": "user", "content": "call it"},
        {"role": "assistant", "content": None, "tool_calls": [CALL, {**CALL, "id": "call-2"}]},
        {"role": "tool", "content": "1", "tool_call_id": "call-1"},
    ]
    broken = [*messages, {"role": "tool", "content": "x", "tool_call_id": "call-3"}]
    for wrong, named in (
        (broken, "call-3"),
        ([*messages, {"role": "user"}], "messages[3].content"),
        ([], ""),
    ):
        response = await client.post(path, json={"messages": wrong})
        assert (response.status_code, named in response.json()["detail"]) == (400, True), response.text
    assert await openai_messages(client, session_id) == []
    shown = [(await client.post(path, json={"messages": messages, "client_id": "batch 1"})) for _ in range(2)]
    assert [response.status_code for response in shown] == [201, 201]
    assert shown[0].json() == shown[1].json()
    other = await client.post(path, json={"messages": messages[:1], "client_id": "batch 1"})
    assert other.status_code == 409
    late = {"role": "tool", "content": "2", "tool_call_id": "call-2"}
    assert (await post(client, session_id, **late)).status_code == 201
    answered = await post(client, session_id, **late)
    assert (answered.status_code, "call-2" in answered.json()["detail"]) == (409, True)
    assert await openai_messages(client, session_id) == [*messages, late]


async def test_both_calls_know_the_clients_own_id_by_either_name(client: httpx.AsyncClient) -> None:
    """`client_message_id` and `client_id` are one: a retry under either name is the same message; two that differ are
    refused. Guard: a name that one of the calls does not know."""
    session_id = await opened(client)
    names = ("client_message_id", "client_id")
    asked = [await post(client, session_id, content="hello there", **{name: "m1"}) for name in names]
    assert asked[0].json() == asked[1].json()
    kept = [await post(client, session_id, content="x", role="system", **{name: "m2"}) for name in names]
    assert [response.status_code for response in kept] == [201, 200]
    path, body = (
        f"/chat/sessions/{session_id}/openai-messages",
        {"messages": [{"role": "user", "content": "y"}]},
    )
    batch = [await client.post(path, json={**body, name: "m3"}) for name in names]
    assert batch[0].json() == batch[1].json()
    both = await client.post(path, json={**body, **dict.fromkeys(names, "m3")})
    assert both.json() == batch[0].json()
    contents = [message["content"] for message in await openai_messages(client, session_id)]
    assert contents == ["hello there", "You said: hello there", "x", "y"]
    differing = {"client_message_id": "a", "client_id": "b"}
    for response in (
        await post(client, session_id, content="z", **differing),
        await post(client, session_id, content="z", role="system", **differing),
        await client.post(path, json={**body, **differing}),
    ):
        assert response.status_code == 400
        assert all(
            one in response.json()["detail"] for one in ("client_message_id", "client_id", "'a'", "'b'")
        )
    assert len(await openai_messages(client, session_id)) == 4


async def test_a_message_with_a_key_that_the_api_does_not_know_is_refused(client: httpx.AsyncClient) -> None:
    session_id = await opened(client)
    path = f"/chat/sessions/{session_id}/openai-messages"
    good = {"role": "user", "content": "x"}
    response = await client.post(path, json={"messages": [good, {**good, "client_id": "m1"}]})
    assert (response.status_code, "messages[1].client_id" in response.json()["detail"]) == (400, True)
    assert await openai_messages(client, session_id) == []


@real.needs_conversations
async def test_real_conversations_go_in_and_come_out_unchanged(client: httpx.AsyncClient) -> None:
    for line in real.CONVERSATIONS.read_text(encoding="utf-8").splitlines()[:5]:
        messages = json.loads(line)["messages"]
        session_id = await opened(client)
        response = await client.post(
            f"/chat/sessions/{session_id}/openai-messages", json={"messages": messages}
        )
        assert response.status_code == 201, response.text
        assert await openai_messages(client, session_id) == messages


async def test_openai_messages_of_every_kind_of_run(
    here: Service, client: httpx.AsyncClient, gate: Path
) -> None:
    """Section 7: parallel tools, a confirmation, a cancelled run, an operation before and after its end, a plan, a
    board and a team: what the `openai` client accepts unchanged, in order."""
    session_id = await opened(client)
    async with chat(here, session_id, additional_headers=KEYS["ana"]) as line:
        await told(line, "two at once")
        await line.send(type="message", content="run it")
        asked = (await line.until(of_type("confirmation_request")))[-1]
        open_call = (await openai_messages(client, session_id))[-1]
        assert "no result yet" in open_call["content"]
        await line.send(
            type="confirmation_reply", confirmation_id=asked["data"]["confirmation_id"], approved=True
        )
        await line.until(of_type("final_answer"))
        await line.send(type="message", content="ask me")
        await line.until(of_type("ask_human"))
        await line.send(type="cancel")
        await line.until(of_type("result"))
        await told(line, "paint it")
        pending = [one for one in await openai_messages(client, session_id) if one["role"] == "tool"][-1]
        assert json.loads(pending["content"])["status"] == "operation_pending"
        gate.touch()  # noqa: ASYNC240
        await line.until(
            lambda frame: (
                frame["type"] == "step" and frame["data"]["data"].get("status") == "operation_finished"
            )
        )
        await told(line, "@board:moderator,engineer,skeptic rounds=1 boats")
        await told(line, "@team ships")
        await told(line, "count it", execution_mode="plan_exec")
    found = await openai_messages(client, session_id)
    results = [message["content"] for message in found if message["role"] == "tool"]
    assert results[:3] == ["1+1 = 2", "2+2 = 4", results[2]]
    assert "done 42" in results[2]
    assert results[4] == "a picture of a boat"
    users = [message["content"] for message in found if message["role"] == "user"]
    assert users == ["two at once", "run it", "ask me", "paint it", "@board boats", "@team ships", "count it"]
    answers = [message["content"] for message in found if message["role"] == "assistant"]
    assert any(CONCLUSION["summary"] in (answer or "") for answer in answers)
    assert (await client.get(f"/chat/sessions/{session_id}")).json()["tasks"] == {
        "completed": 6, "failed": 0, "cancelled": 1, "open": 0,
    }  # fmt: skip


async def test_an_imported_conversation_and_one_of_the_portal_have_openai_messages_too(
    client: httpx.AsyncClient,
) -> None:
    """What there is none of, or somebody else's, is 404."""
    body = {"message": "hello there", "conversation_id": "of the portal"}
    await client.post("/portal/chat", json=body)
    first, second = await openai_messages(client, "of the portal")
    assert (first["content"], second["role"]) == ("hello there", "assistant")
    assert (await client.get("/chat/sessions/never was/openai-messages")).status_code == 404


async def test_a_session_says_what_it_has_used(client: httpx.AsyncClient) -> None:
    """Section 7: owner, title, usage (prompt, completion, total tokens), number of messages."""
    session_id = await opened(client)
    await post(client, session_id, content="two at once")
    found = (await client.get(f"/chat/sessions/{session_id}")).json()
    usage = found["usage"]
    assert usage["prompt_tokens"] > 0
    assert usage["completion_tokens"] > 0
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert (found["owner"], found["title"], found["message_count"]) == ("ana", "two at once", 2)
    await post(client, session_id, content="two at once")
    again = (await client.get(f"/chat/sessions/{session_id}")).json()["usage"]
    assert again["total_tokens"] > usage["total_tokens"]


async def test_a_title_is_neither_lost_nor_overwritten_while_messages_come_in_on_two_nodes(
    nodes: tuple[Service, Service],
) -> None:
    """Section 7: a title, set without racing the messages; over `PATCH` of sessions and of the portal."""
    headers = KEYS["mia"]
    async with nodes[0].client(headers=headers) as one, nodes[1].client(headers=headers) as other:
        for number in range(2):
            session_id = await opened(one)
            path = f"/chat/sessions/{session_id}"
            messages = [post(one, session_id, content=f"message {n}", run=False) for n in range(8)]
            titles = other.patch(path, json={"title": f"  Boats \n {number} "})
            *_, titled = await asyncio.gather(*messages[:4], titles)
            assert titled.json()["title"] == f"Boats {number}"
            await asyncio.gather(*messages[4:], post(other, session_id, content="hello there"))
            for client in (one, other):
                found = (await client.get(path)).json()
                assert (found["title"], found["message_count"]) == (f"Boats {number}", 10)
        portal = await one.patch(f"/portal/conversations/{session_id}", json={"title": "Ships"})
        assert portal.json()["title"] == "Ships"
        assert (await other.get(path)).json()["title"] == "Ships"
        assert (await other.patch(path, json={"title": ""})).json()["title"].startswith("message")
        too_long = await one.patch(path, json={"title": "x" * 201})
        assert (too_long.status_code, "200" in too_long.json()["detail"]) == (400, True)
        assert (await one.patch("/portal/conversations/none", json={"title": "x"})).status_code == 404


async def test_metadata_is_replaced_and_has_a_limit(client: httpx.AsyncClient) -> None:
    session_id = await opened(client, metadata={"a": 1})
    path = f"/chat/sessions/{session_id}"
    assert (await client.patch(path, json={"metadata": {"b": 2}})).json()["metadata"] == {"b": 2}
    assert (await client.patch(path, json={"metadata": {"a": "x" * 20_000}})).status_code == 413
    found = (await client.patch(path, json={})).json()
    assert (found["metadata"], found["title"]) == ({"b": 2}, "conversation")


async def test_sessions_are_listed_newest_first_a_page_at_a_time_with_their_number(here: Service) -> None:
    """Section 7: by owner, newest first, with a total count; the list stays a list."""
    async with here.client(headers=KEYS["lisa"]) as client:
        made = [await opened(client, agent="sailor" if n % 3 == 0 else "assistant") for n in range(7)]
        await client.delete(f"/chat/sessions/{made[2]}")
        order = [made[2], made[6], made[5], made[4], made[3], made[1], made[0]]
        seen: list[str] = []
        path: str | None = "/api/v1/chat/sessions?limit=3"
        while path is not None:
            response = await client.get(here.url + path)
            seen += [entry["session_id"] for entry in response.json()]
            assert response.headers["X-Total-Count"] == "7"
            assert ("X-Next-Cursor" in response.headers) == ("next" in response.links)
            path = response.links["next"]["url"] if response.links else None
        assert seen == order
        for query, wanted in (
            ("status=closed", [made[2]]),
            ("agent_name=sailor", [made[6], made[3], made[0]]),
            ("agent_name=sailor&status=active&limit=2", [made[6], made[3]]),
            ("agent_name=nobody", []),
        ):
            response = await client.get(f"/chat/sessions?{query}")
            assert [entry["session_id"] for entry in response.json()] == wanted
            total = 3 if "limit" in query else len(wanted)
            assert response.headers["X-Total-Count"] == str(total)
        for wrong in ("cursor=x", "cursor=%00", "status=gone", "limit=0", "cursor=" + "a" * 2_000):
            assert (await client.get(f"/chat/sessions?{wrong}")).status_code == 400


async def test_agents_say_what_they_have_done_and_have_to_do_for_a_user(here: Service) -> None:
    """Section 7: counts of successful runs and schedules per agent."""
    async with here.client(headers=KEYS["bob"]) as client:
        session_id = await opened(client, agent="sailor")
        await post(client, session_id, content="hello there")
        await post(client, session_id, content="hello again")
        agents = {agent["name"]: agent for agent in (await client.get("/agents")).json()}
        assert agents["sailor"].items() >= {
            "description": "Knows boats.", "mode": "direct_chat", "successful_runs": 2, "schedules": 0,
            "is_default": False,
        }.items()  # fmt: skip
        assert agents["sailor"]["last_run_at"]
        assert (agents["assistant"]["is_default"], agents["assistant"]["successful_runs"]) == (True, 0)
        assert (await client.get("/agents?owner=ana")).status_code == 404
    async with here.client(headers=KEYS["eve"]) as auditor:
        agents = {agent["name"]: agent for agent in (await auditor.get("/agents?owner=bob")).json()}
        assert agents["sailor"]["successful_runs"] == 2


async def test_somebody_elses_session_does_not_exist_and_auditors_and_admins_may_look(
    here: Service, client: httpx.AsyncClient
) -> None:
    """Section 7: "Reading or deleting somebody else's session behaves as if it did not exist." """
    session_id = await opened(client)
    await post(client, session_id, content="hello there")
    path = f"/chat/sessions/{session_id}"
    body = {"messages": [{"role": "user", "content": "x"}]}
    async with here.client(headers=KEYS["bob"]) as bob:
        for response in (
            await bob.get(path),
            await bob.get(f"{path}?owner=ana"),
            await bob.get(f"{path}/messages"),
            await bob.get(f"{path}/openai-messages"),
            await bob.get(f"{path}/openai-messages?owner=ana"),
            await bob.patch(path, json={"title": "mine"}),
            await bob.post(f"{path}/openai-messages", json=body),
            await post(bob, session_id, content="x", role="system"),
            await bob.delete(path),
        ):
            assert response.status_code == 404
    for user in ("eve", "root"):
        async with here.client(headers=KEYS[user]) as other:
            assert (await other.get(path)).status_code == 404
            assert (await other.get(f"{path}?owner=ana")).json()["owner"] == "ana"
            listed = await other.get("/chat/sessions?owner=ana&limit=1")
            assert "owner=ana" in listed.headers["Link"]
            assert len(demand_sendable((await other.get(f"{path}/openai-messages?owner=ana")).json())) == 2
            refused = await other.patch(f"{path}?owner=ana", json={"title": "mine"})
            assert refused.status_code == (403 if user == "eve" else 404)
        async with chat(here, session_id, query="owner=ana", additional_headers=KEYS[user]) as line:
            await line.send(type="message", content="may I?")
            assert (await line.receive())["type"] == "error"
    found = (await client.get(path)).json()
    assert (found["title"], found["status"], found["message_count"]) == ("hello there", "active", 2)


async def test_a_closed_session_takes_no_message_through_any_door(
    nodes: tuple[Service, Service], client: httpx.AsyncClient
) -> None:
    """Section 2: 400 where the session is closed. Closing is an event, so it holds on every node, for the portal too;
    what was taken before is answered again."""
    session_id = await opened(client)
    sent = {"content": "hello there", "client_message_id": "m1"}
    first = (await post(client, session_id, **sent)).json()
    kept = {"content": "x", "role": "system", "client_message_id": "m2"}
    added = (await post(client, session_id, **kept)).json()
    await client.delete(f"/chat/sessions/{session_id}")
    body = {"message": "x", "conversation_id": session_id}
    async with nodes[1].client(headers=KEYS["ana"]) as other:
        for door in (client, other):
            for response in (
                await post(door, session_id, content="x"),
                await post(door, session_id, content="x", role="system"),
                await door.post(
                    f"/chat/sessions/{session_id}/openai-messages",
                    json={"messages": [{"role": "user", "content": "x"}]},
                ),
                await door.post("/portal/chat", json=body),
                await door.post("/portal/chat/stream", json=body),
            ):
                assert (response.status_code, session_id in response.json()["detail"]) == (400, True)
        again = await post(other, session_id, **sent)
        assert (again.status_code, again.json()["message_id"]) == (200, first["message_id"])
        repeated = await post(other, session_id, **kept)
        assert (repeated.status_code, repeated.json()) == (200, added)
    assert len(await openai_messages(client, session_id)) == 3
