"""Contract section 2, WebSocket `/chat/ws/{session_id}`, over real sockets of the real server."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from tests.support.chat import chat, of_type, offsets, opened, step_names, tokens, told
from tests.support.databases import TestServer
from tests.support.portal import portal
from tests.support.service import Service, running_pair, running_service, script


@pytest.fixture(scope="module")
def rules(gate: Path, rules: list[dict[str, object]]) -> list[dict[str, object]]:
    """As for the other surfaces; small talk stops in the middle too, and one answer works in phases."""
    held = {"chunk_chars": 5, "wait_for_file": str(gate / "talk"), "hold_after_chunks": 3}
    violating = {"tool_calls": [{"name": "ask_human", "arguments": {"question": "May I?"}}]}
    return [
        {
            "when": {"last_user_contains": "good evening"},
            "answer": {"text": "A very good evening to you.", **held},
        },
        {"when": {"last_user_contains": "overstep", "step": 0}, "answer": violating},
        *rules,
    ]


async def test_a_turn_is_told_step_by_step(service: Service, client: httpx.AsyncClient) -> None:
    """`connected`, `skill_match`, `thinking`, `step`, `token`, `final_answer`: text before a call is thinking."""
    session_id = await opened(client)
    async with chat(service, session_id) as line:
        frames = await told(line, "please compute it")
        connected = line.frames[0]
    assert (
        connected.items()
        >= {"type": "connected", "session_id": session_id, "agent_name": "assistant"}.items()
    )
    kinds = [frame["type"] for frame in frames]
    assert kinds == ["skill_match", "thinking", "step", "step", "token", "final_answer"]
    assert frames[0]["data"].items() >= {"method": "default", "confidence": 1.0}.items()
    assert "skill" in frames[0]["data"]
    assert frames[1]["content"] == "I will calculate."
    assert step_names(frames) == ["turn.tool_call", "turn.tool_result"]
    assert frames[2]["data"].keys() >= {"event_type", "step", "data"}
    assert frames[3]["data"]["data"]["content"] == "6*7 = 42"
    assert tokens(frames) == frames[-1]["content"] == "Found: 6*7 = 42."
    assert frames[-1]["is_final"] is True
    assert offsets(frames) == sorted(set(offsets(frames)))


async def test_tokens_of_what_can_only_be_an_answer_come_while_it_is_written(
    service: Service, client: httpx.AsyncClient, gate: Path
) -> None:
    """Small talk is `direct_chat`: its text is the answer, whatever it says, so nothing has to wait."""
    async with chat(service, await opened(client)) as line:
        await line.send(type="message", content="good evening")
        first = await line.until(of_type("token"))
        assert first[0]["data"]["method"] == "greeting"
        assert "A very good evening to you.".startswith(tokens(first))
        (gate / "talk").touch()
        frames = first + await line.until(of_type("final_answer"))
    assert tokens(frames) == frames[-1]["content"] == "A very good evening to you."


async def test_what_may_still_be_thinking_comes_as_a_draft_to_who_asks_for_it(
    service: Service, client: httpx.AsyncClient, gate: Path
) -> None:
    async with chat(service, await opened(client), query="drafts=true") as line:
        await line.send(type="message", content="please hold one")
        draft = (await line.until(lambda frame: "turn.draft" in step_names([frame])))[-1]["data"]["data"]
        assert "The beginning, and the end.".startswith(draft["content"])
        assert (draft["kind"], draft["reset"]) == ("text", True)
        assert not [frame for frame in line.frames if frame["type"] == "token"]
        (gate / "one").touch()
        frames = await line.until(of_type("final_answer"))
    assert tokens(frames) == "The beginning, and the end."


async def test_every_socket_of_a_session_is_told_and_any_of_them_cancels(
    service: Service, client: httpx.AsyncClient
) -> None:
    """`cancel` → `result` with status cancelled, on all of them; what there was is kept."""
    session_id = await opened(client)
    async with chat(service, session_id, query="drafts=1") as first, chat(service, session_id) as second:
        await first.send(type="message", content="please hold two")
        await first.until(lambda frame: "turn.draft" in step_names([frame]))
        await second.until(of_type("skill_match"))
        await second.send(type="cancel")
        told_first, told_second = await first.until(of_type("result")), await second.until(of_type("result"))
    assert told_first[-1] == told_second[-1]
    assert told_second[-1]["data"]["status"] == "cancelled"
    assert "turn.step" in step_names(told_second)
    found = (await client.get(f"/chat/sessions/{session_id}/messages")).json()
    assert found[-1]["metadata"]["status"] == "interrupted"


async def test_a_message_can_be_cancelled_at_once(service: Service, client: httpx.AsyncClient) -> None:
    async with chat(service, await opened(client)) as line:
        await line.send(type="message", content="please hold three")
        await line.send(type="cancel")
        frames = await line.until(lambda frame: frame["type"] in ("result", "final_answer", "error"))
    assert frames[-1]["data"]["status"] == "cancelled"


async def test_at_most_four_tasks_at_once_in_a_session(
    service: Service, client: httpx.AsyncClient, gate: Path
) -> None:
    """A fifth gets an error frame; the others are answered, one after another."""
    async with chat(service, await opened(client)) as line:
        for number in range(5):
            await line.send(type="message", content=f"please hold four {number}")
        frames = await line.until(of_type("error"))
        assert "4" in frames[-1]["data"]["message"]
        (gate / "four").touch()
        while len([frame for frame in line.frames if frame["type"] == "final_answer"]) < 4:
            await line.receive()
        assert len([frame for frame in line.frames if frame["type"] == "skill_match"]) == 4
        await line.send(type="ping")
        assert await line.receive() == {"type": "pong"}


@pytest.mark.parametrize(
    ("sent", "part"),
    [
        ("not json", "not valid JSON"),
        ("[1]", "has to be a JSON object with a type"),
        ('{"type":"chat","message":"x"}', "Unknown frame type"),
        ('{"type":"message"}', "content"),
        ('{"type":"message","content":"  "}', "empty"),
        ('{"type":"message","content":"x","role":"system"}', "role"),
        ('{"type":"cancel"}', "running"),
        ('{"type":"cancel","task_id":"x"}', "running"),
        ('{"type":"reply","content":"x"}', "request_id"),
        ('{"type":"reply","request_id":"x","content":"x"}', "no open question"),
        ('{"type":"confirmation_reply","confirmation_id":"x","approved":"yes"}', "approved"),
        ('{"type":"confirmation_reply","confirmation_id":"x","approved":true}', "no open question"),
        ('{"type":"' + "x" * 5_000 + '"}', "Unknown frame type"),
        ("[" * 5_000, "nested too deeply"),
    ],
)
async def test_bad_frames_are_answered_and_do_no_harm(
    service: Service, client: httpx.AsyncClient, sent: str, part: str
) -> None:
    """One sentence of at most 200 characters."""
    async with chat(service, await opened(client)) as line:
        await line.connection.send(sent)
        frame = await line.receive()
        assert frame["type"] == "error"
        assert part in frame["data"]["message"]
        assert len(frame["data"]["message"]) <= 200
        await line.send(type="ping")
        assert await line.receive() == {"type": "pong"}


async def test_a_model_error_ends_as_one_sentence(service: Service, client: httpx.AsyncClient) -> None:
    async with chat(service, await opened(client)) as line:
        frames = await told(line, "break now")
    assert frames[-1]["type"] == "error"
    assert frames[-1]["data"]["message"] == "The model refused the request."


async def test_phases_are_frames(service: Service, client: httpx.AsyncClient) -> None:
    """`execution_mode:"plan_exec"`: `phase_changed`, and `phase_violation` for a tool that the phase does not allow."""
    async with chat(service, await opened(client)) as line:
        frames = await told(line, "overstep the phase", execution_mode="plan_exec")
    changed = [frame["data"] for frame in frames if frame["type"] == "phase_changed"]
    assert [(one["phase"], one["previous"]) for one in changed][:2] == [
        ("explore", None),
        ("plan", "explore"),
    ]
    (violated,) = [frame["data"] for frame in frames if frame["type"] == "phase_violation"]
    assert (violated["phase"], violated["tool"]) == ("explore", "ask_human")
    assert "ask_human" not in [frame["type"] for frame in frames]
    assert frames[-1]["type"] == "final_answer"


async def test_a_reconnect_is_told_exactly_what_was_missed(
    service: Service, client: httpx.AsyncClient
) -> None:
    """`?after=` behind every frame of a turn, by offset or by cursor."""
    session_id = await opened(client)
    async with chat(service, session_id) as line:
        cursor = line.frames[0]["cursor"]
        whole = await told(line, "please compute it")
    for number, frame in enumerate(whole):
        if "offset" not in frame:
            continue
        async with chat(service, session_id, query=f"after={frame['offset']}") as line:
            await line.send(type="ping")
            rest = [await line.receive() for _ in range(len(whole) - number)]
        assert [told for told in rest if told["type"] != "pong"] == whole[number + 1 :]
    async with chat(service, session_id, query=f"after={cursor}") as line:
        assert line.frames[0]["resume"]["answer"] == "missed"
        assert [await line.receive() for _ in whole] == whole


async def test_a_dropped_socket_comes_back_in_the_middle_of_an_answer(
    service: Service, client: httpx.AsyncClient, gate: Path
) -> None:
    session_id = await opened(client)
    async with chat(service, session_id) as line:
        await line.send(type="message", content="please hold five")
        seen = (await line.until(of_type("skill_match")))[-1]["offset"]
        line.connection.transport.abort()
    (gate / "five").touch()
    async with chat(service, session_id, query=f"after={seen}") as line:
        frames = await line.until(of_type("final_answer"))
    assert tokens(frames) == frames[-1]["content"] == "The beginning, and the end."


async def test_a_cursor_of_another_log_begins_at_the_end(service: Service, client: httpx.AsyncClient) -> None:
    session_id = await opened(client)
    async with chat(service, session_id, query="after=000000000000:1") as line:
        connected = line.frames[0]
        frames = await told(line, "hello you there")
    assert connected["resume"].items() >= {"answer": "cannot", "reason": "other_epoch"}.items()
    assert frames[0]["type"] == "skill_match"


async def test_the_same_client_message_is_taken_once_and_answered_again(
    service: Service, client: httpx.AsyncClient
) -> None:
    session_id = await opened(client)
    async with chat(service, session_id) as line:
        first = await told(line, "take me once", client_message_id="m1")
    async with chat(service, session_id) as line:
        again = await told(line, "take me once", client_message_id="m1")
    assert again == first
    assert len((await client.get(f"/chat/sessions/{session_id}/messages")).json()) == 2


async def test_a_closed_session_takes_no_message_but_can_be_read(
    service: Service, client: httpx.AsyncClient
) -> None:
    session_id = await opened(client)
    async with chat(service, session_id) as line:
        await told(line, "one message")
        await client.delete(f"/chat/sessions/{session_id}")
        assert step_names([await line.receive()]) == ["session.closed"]
        await line.send(type="message", content="one more")
        assert "closed" in (await line.receive())["data"]["message"]
    async with chat(service, session_id, query="after=0") as line:
        assert line.frames[0]["status"] == "closed"
        await line.until(of_type("final_answer"))


async def test_no_such_session(service: Service) -> None:
    for session_id in ("never%20was", "x" * 300):
        async with portal(service, f"/api/v1/chat/ws/{session_id}") as line:
            assert (await line.receive())["type"] == "error"
            with pytest.raises(ConnectionClosed):
                await line.connection.recv()
            assert line.connection.close_code == 4004


async def test_keys_heartbeat_and_owners(server: TestServer, tmp_path: Path) -> None:
    """As on the portal's socket: 4001 without a key, 1000 after silence; somebody else's session does not exist."""
    users = (("ana", "member"), ("bob", "member"), ("eve", "auditor"))
    keys = [{"key": f"key-of-{user}-0123456789", "user": user, "role": role} for user, role in users]
    settings = {
        "model": script(tmp_path, []),
        "api_keys": json.dumps(keys),
        "heartbeat_seconds": "1",
        "auth_seconds": "0.2",
    }
    with server.database() as dsn, running_service(tmp_path, dsn, **settings) as service:
        ana, bob = ({"X-API-Key": f"key-of-{user}-0123456789"} for user in ("ana", "bob"))
        async with service.client(headers=ana) as client:
            session_id = await opened(client)
        path = f"/api/v1/chat/ws/{session_id}"
        for query in ("", "?api_key=wrong-key-0123456789"):
            async with portal(service, path + query) as line:
                assert (await line.receive())["type"] == "error"
                with pytest.raises(ConnectionClosed):
                    await line.connection.recv()
                assert line.connection.close_code == 4001
        async with portal(service, path, additional_headers=bob) as line:
            assert session_id in (await line.receive())["data"]["message"]
        async with chat(service, session_id, additional_headers=ana) as line:
            await told(line, "tell me more")
            with pytest.raises(ConnectionClosed):
                await line.connection.recv()
            assert line.connection.close_code == 1000


@pytest.fixture(scope="module")
def two_nodes(
    server: TestServer, tmp_path_factory: pytest.TempPathFactory, rules: list[dict[str, object]]
) -> Iterator[tuple[Service, Service]]:
    folder = tmp_path_factory.mktemp("nodes")
    with running_pair(server, folder, model=script(folder, rules)) as pair:
        yield pair


async def test_a_task_of_one_node_is_watched_and_cancelled_on_the_other(
    two_nodes: tuple[Service, Service],
) -> None:
    first, second = two_nodes
    async with first.client() as client:
        session_id = await opened(client)
    async with chat(first, session_id) as here, chat(second, session_id) as there:
        await here.send(type="message", content="please hold six")
        await there.until(of_type("skill_match"))
        await there.send(type="cancel")
        assert (await here.until(of_type("result")))[-1] == (await there.until(of_type("result")))[-1]
