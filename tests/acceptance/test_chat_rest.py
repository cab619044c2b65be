"""Contract section 2, REST: sessions bound to an agent and their messages, over the real server."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.chat import chat, opened, step_names, told
from tests.support.databases import TestServer
from tests.support.portal import portal, steps
from tests.support.service import Service, running_service, script


async def test_a_session_is_opened_listed_read_and_closed(client: httpx.AsyncClient) -> None:
    body = {"agent_name": "assistant", "metadata": {"from": "a test", "nested": [1, "NUL \0"]}}
    response = await client.post("/chat/sessions", json=body)
    made = response.json()
    assert response.status_code == 201
    assert made.keys() >= {"session_id", "agent_name", "status", "metadata", "created_at", "updated_at"}
    assert (made["agent_name"], made["status"]) == ("assistant", "active")
    assert made["metadata"] == {"from": "a test", "nested": [1, "NUL \N{REPLACEMENT CHARACTER}"]}
    path = f"/chat/sessions/{made['session_id']}"
    assert (await client.get(path)).json() == made
    assert (await client.get("/chat/sessions?limit=1")).json() == [made]
    for _ in range(2):
        closed = await client.delete(path)
        assert closed.json() == {"status": "closed", "session_id": made["session_id"]}
    found = (await client.get(path)).json()
    assert found["status"] == "closed"
    assert found["updated_at"] > made["updated_at"]
    response = await client.post(f"{path}/messages", json={"content": "too late"})
    assert (response.status_code, made["session_id"] in response.json()["detail"]) == (400, True)
    assert (await client.get(f"{path}/messages")).json() == []


async def test_newest_sessions_come_first_and_a_message_makes_one_newest(client: httpx.AsyncClient) -> None:
    first, second = await opened(client), await opened(client)
    listed = [entry["session_id"] for entry in (await client.get("/chat/sessions")).json()]
    assert listed[:2] == [second, first]
    await client.post(f"/chat/sessions/{first}/messages", json={"content": "hello there"})
    listed = [entry["session_id"] for entry in (await client.get("/chat/sessions")).json()]
    assert listed[:2] == [first, second]


async def test_a_message_is_answered_by_the_sessions_agent(client: httpx.AsyncClient) -> None:
    """`POST …/messages` waits and gives the assistant's message; `GET …/messages` has both."""
    session_id = await opened(client)
    path = f"/chat/sessions/{session_id}/messages"
    response = await client.post(path, json={"content": "please compute it", "role": "user"})
    answer = response.json()
    assert response.status_code == 200
    assert (answer["role"], answer["content"]) == ("assistant", "Found: 6*7 = 42.")
    assert (answer["status"], answer["session_id"]) == ("completed", session_id)
    assert answer["agent_name"] == "assistant"
    assert "error_struct" not in answer
    user, assistant = (await client.get(path)).json()
    expected = {"message_id", "session_id", "role", "content", "created_at"}
    assert user.keys() >= expected
    assert (user["role"], user["content"]) == ("user", "please compute it")
    assert (assistant["message_id"], assistant["content"]) == (answer["message_id"], answer["content"])
    assert assistant["agent_name"] == "assistant"
    assert assistant["metadata"]["tool_calls"][0]["name"] == "calculator"
    assert (await client.get(f"{path}?limit=1&offset=1")).json() == [assistant]
    assert (await client.get(f"{path}?limit=1")).json() == [user]


async def test_execution_mode_plan_exec_runs_with_phases(client: httpx.AsyncClient) -> None:
    session_id = await opened(client)
    path = f"/chat/sessions/{session_id}/messages"
    await client.post(path, json={"content": "go through it", "execution_mode": "plan_exec"})
    _, answer = (await client.get(path)).json()
    phases = [
        step["data"]["phase"] for step in answer["metadata"]["steps"] if step["name"] == "phase_changed"
    ]
    assert phases == ["explore", "plan", "execute", "verify"]
    assert answer["metadata"]["mode"] == "plan_exec"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"agent_name": "nobody"}, 404),
        ({}, 400),
        ({"agent_name": "assistant", "metadata": "x"}, 400),
        ({"agent_name": "assistant", "metadata": {"a": "x" * 20_000}}, 413),
        ({"agent_name": "assistant", "session_id": "a/b"}, 400),
    ],
)
async def test_bad_sessions_get_a_sentence(
    client: httpx.AsyncClient, body: dict[str, object], status: int
) -> None:
    before = (await client.get("/chat/sessions")).json()
    response = await client.post("/chat/sessions", json=body)
    assert (response.status_code, bool(response.json()["detail"])) == (status, True)
    assert (await client.get("/chat/sessions")).json() == before


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"content": "  "}, 400),
        ({"content": "x", "role": "robot"}, 400),
        ({"content": "x", "execution_mode": "magic"}, 400),
        ({"content": "x" * 300_000}, 413),
    ],
)
async def test_bad_messages_get_a_sentence(
    client: httpx.AsyncClient, body: dict[str, object], status: int
) -> None:
    session_id = await opened(client)
    response = await client.post(f"/chat/sessions/{session_id}/messages", json=body)
    assert (response.status_code, bool(response.json()["detail"])) == (status, True)
    assert (await client.get(f"/chat/sessions/{session_id}/messages")).json() == []


async def test_what_is_no_session_is_404(client: httpx.AsyncClient) -> None:
    """Nor is an ordinary conversation one."""
    await client.post("/portal/chat", json={"message": "hello", "conversation_id": "no session"})
    for session_id in ("no session", "never was"):
        path = f"/chat/sessions/{session_id}"
        assert (await client.get(path)).status_code == 404
        assert (await client.delete(path)).status_code == 404
        assert (await client.get(f"{path}/messages")).status_code == 404
        assert (await client.post(f"{path}/messages", json={"content": "x"})).status_code == 404


async def test_an_id_of_the_clients_own_is_opened_once(client: httpx.AsyncClient) -> None:
    first = await opened(client, session_id="my session", metadata={"a": 1})
    assert await opened(client, session_id="my session", metadata={"a": 1}) == first == "my session"
    body = {"agent_name": "assistant", "session_id": "my session", "metadata": {"a": 2}}
    assert (await client.post("/chat/sessions", json=body)).status_code == 409


async def test_the_id_of_a_session_that_was_deleted_stays_taken(client: httpx.AsyncClient) -> None:
    """Its minutes are in the log: another session under the id would go on with them. Guard: the look for a deletion
    where the session was opened in the very same way."""
    body = {"agent_name": "assistant", "session_id": "deleted"}
    await opened(client, session_id="deleted")
    assert (await client.delete("/portal/conversations/deleted")).status_code == 200
    for wanted in (body, {**body, "metadata": {"a": 1}}):
        answer = await client.post("/chat/sessions", json=wanted)
        assert (answer.status_code, "deleted" in answer.json()["detail"]) == (409, True)
    await client.post("/portal/chat", json={"message": "hello", "conversation_id": "deleted"})
    assert (await client.post("/chat/sessions", json=body)).status_code == 409


async def test_the_same_client_message_is_taken_once(client: httpx.AsyncClient) -> None:
    session_id = await opened(client)
    path = f"/chat/sessions/{session_id}/messages"
    body = {"content": "take me once", "client_message_id": "m1"}
    first, again = [(await client.post(path, json=body)).json() for _ in range(2)]
    assert first["message_id"] == again["message_id"]
    assert len((await client.get(path)).json()) == 2


@pytest.fixture
def falling(server: TestServer, tmp_path: Path) -> Iterator[Service]:
    """A service whose main and recovery models fail for "fall back"."""
    folder = tmp_path
    with server.database() as dsn:
        settings: dict[str, str] = {"model_retries": "0"}
        for tier, error in (("model", "timeout"), ("model_recovery", "unreachable")):
            path = folder / f"{tier}.json"
            failure = {"class": error, "message": f"No {tier}.", "transient": True}
            rule = {"when": {"last_user_contains": "fall back"}, "answer": {"error": failure}}
            path.write_text(json.dumps([rule]), encoding="utf-8")
            settings[tier] = f"scripted:{path}"
        keys = [{"key": f"key-of-{user}-0123456789", "user": user} for user in ("ana", "bob")]
        settings |= {"model_emergency": script(folder, []), "api_keys": json.dumps(keys)}
        with running_service(folder, dsn, **settings) as running:
            yield running


async def test_the_answer_of_the_last_tier_says_so(falling: Service) -> None:
    """`error_struct` and `fallback_status`, on sessions and on the portal; not where the main tier answered."""
    async with falling.client(headers={"X-API-Key": "key-of-ana-0123456789"}) as client:
        session_id = await opened(client)
        path = f"/chat/sessions/{session_id}/messages"
        plain = (await client.post(path, json={"content": "good weather"})).json()
        session = (await client.post(path, json={"content": "now fall back"})).json()
        portal = (await client.post("/portal/chat", json={"message": "now fall back"})).json()
    assert "fallback_status" not in plain
    for answer in (session, portal):
        assert answer["status"] == "completed"
        status = answer["fallback_status"]
        assert status["tier"] == "emergency"
        tiers = [(attempt["tier"], attempt["error_class"]) for attempt in status["attempts"]]
        assert tiers == [("main", "timeout"), ("recovery", "unreachable")]
        assert answer["error_struct"] == {
            "error_class": "unreachable",
            "message": "No model_recovery.",
            "recoverable": True,
        }


async def test_attempts_that_failed_are_steps_and_the_final_answer_tells_of_the_last_tier(
    falling: Service,
) -> None:
    """`turn.model_attempt_failed` on both sockets."""
    key = {"X-API-Key": "key-of-ana-0123456789"}
    async with falling.client(headers=key) as client:
        session_id = await opened(client)
    async with chat(falling, session_id, additional_headers=key) as line:
        frames = await told(line, "now fall back")
    assert step_names(frames) == ["turn.model_attempt_failed"] * 2
    assert frames[-1]["fallback_status"]["tier"] == "emergency"
    async with portal(falling, additional_headers=key) as line:
        frames = await line.turn("now fall back")
    assert [step["data"]["tier"] for step in steps(frames, "model_attempt_failed")] == ["main", "recovery"]
    assert frames[-1]["data"]["error_struct"]["error_class"] == "unreachable"


async def test_somebody_elses_session_and_task_do_not_exist(falling: Service) -> None:
    async with (
        falling.client(headers={"X-API-Key": "key-of-ana-0123456789"}) as ana,
        falling.client(headers={"X-API-Key": "key-of-bob-0123456789"}) as bob,
    ):
        session_id = await opened(ana)
        answer = (await ana.post(f"/chat/sessions/{session_id}/messages", json={"content": "mine"})).json()
        assert (await bob.get(f"/chat/sessions/{session_id}")).status_code == 404
        body = {"content": "x"}
        assert (await bob.post(f"/chat/sessions/{session_id}/messages", json=body)).status_code == 404
        assert (await bob.post(f"/tasks/{answer['task_id']}/cancel")).status_code == 404
        assert (await ana.post(f"/tasks/{answer['task_id']}/cancel")).status_code == 409
        assert session_id not in [entry["session_id"] for entry in (await bob.get("/chat/sessions")).json()]
