"""Contract section 1, WebSocket `/portal/ws`, over a real socket of the real server."""

import asyncio
import json
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from tests.support.portal import is_token, portal, steps
from tests.support.service import Service, running_service, script


async def test_a_turn_is_told_step_by_step(service: Service) -> None:
    """`connected`, `routing`, `step` frames in order, then `result`."""
    async with portal(service) as line:
        frames = await line.turn("please compute it")
    kinds = [frame["type"] for frame in frames]
    assert kinds[:2] == ["connected", "routing"]
    assert kinds[-1] == "result"
    routing = frames[1]
    assert (routing["method"], routing["confidence"]) == ("default", 1.0)
    (thinking,) = steps(frames, "thinking")
    assert thinking["data"]["content"] == "I will calculate."
    (call,) = steps(frames, "tool_call")
    assert (call["data"]["name"], call["data"]["arguments"]) == ("calculator", {"expression": "6*7"})
    (result,) = steps(frames, "tool_result")
    assert result["data"]["content"] == "6*7 = 42"
    (final,) = steps(frames, "final_answer")
    assert final["data"]["content"] == frames[-1]["data"]["message"] == "Found: 6*7 = 42."
    assert frames[-1]["data"]["timestamp"].endswith("Z")
    offsets = [frame["offset"] for frame in frames if "offset" in frame]
    assert offsets == sorted(set(offsets))


async def test_streamed_tokens_add_up_to_the_answer(service: Service) -> None:
    async with portal(service) as line:
        frames = await line.turn("tell me something long enough to come in several pieces")
    answer: dict[str, str] = {}
    for step in steps(frames, "token"):
        data = step["data"]
        known = "" if data["reset"] else answer.get(data["answer_id"], "")
        answer[data["answer_id"]] = known + data["content"]
    final = frames[-1]["data"]["message"]
    assert all(final.startswith(text) for text in answer.values())


async def test_a_known_conversation_goes_on_and_is_named_once(service: Service) -> None:
    """`connected` comes when a conversation was created or switched to."""
    async with portal(service) as line:
        first = await line.turn("hello there", conversation_id="my own id")
        second = await line.turn("and again", conversation_id="my own id")
    assert first[0] == {"type": "connected", "conversation_id": "my own id"}
    assert "connected" not in [frame["type"] for frame in second]


@pytest.mark.parametrize("message", ["Hi", "你好", "thanks!"])
async def test_small_talk_is_routed_as_a_greeting(service: Service, message: str) -> None:
    """Section 5: a greeting or small talk, method `greeting`, one model call."""
    async with portal(service) as line:
        frames = await line.turn(message)
    assert frames[1]["method"] == "greeting"
    assert steps(frames, "tool_call") == []


@pytest.mark.parametrize("message", ["@board", "@team:nobody-of-that-name build it"])
async def test_a_meeting_without_topic_or_people_gets_a_clear_error(service: Service, message: str) -> None:
    """Section 4: an error frame that shows the right form, and nothing is started."""
    async with portal(service) as line:
        (frame,) = await line.turn(message)
    assert frame["type"] == "error"
    assert message.partition(":")[0] in frame["data"]["message"]


@pytest.mark.parametrize(
    ("sent", "part"),
    [
        ("not json", "not valid JSON"),
        ("[1]", "has to be a JSON object with a type"),
        ('{"type":"nonsense"}', "Unknown frame type"),
        ('{"type":"chat"}', "message"),
        ('{"type":"chat","message":""}', "empty"),
        ('{"type":"chat","message":"a","conversation_id":"a/b"}', "printable"),
        ('{"type":"resume"}', "resume needs"),
        ('{"type":"cancel"}', "No task"),
        ("[" * 5_000, "nested too deeply"),
    ],
)
async def test_bad_frames_are_answered_and_do_no_harm(service: Service, sent: str, part: str) -> None:
    async with portal(service) as line:
        await line.connection.send(sent)
        frame = await line.receive()
        assert frame["type"] == "error"
        assert part in frame["data"]["message"]
        await line.send(type="ping")
        assert await line.receive() == {"type": "pong"}


async def test_a_model_error_ends_as_one_sentence(service: Service) -> None:
    async with portal(service) as line:
        frames = await line.turn("break now")
    assert frames[-1]["type"] == "error"
    assert frames[-1]["data"]["message"] == "The model refused the request."
    assert frames[-1]["data"]["task_id"]


async def test_an_empty_answer_becomes_the_fallback_text(service: Service) -> None:
    async with portal(service) as line:
        frames = await line.turn("say nothing at all please, really")
    assert frames[-1]["data"]["message"].startswith("I could not come up with an answer")


async def test_cancel_keeps_what_there_was(service: Service) -> None:
    """`result` with status cancelled; the partial output is kept."""
    async with portal(service) as line:
        await line.send(type="chat", message="please hold one")
        await line.until(is_token)
        await line.send(type="cancel")
        frames = await line.until(lambda frame: frame["type"] == "result")
        conversation_id = line.frames[0]["conversation_id"]
    assert frames[-1]["data"]["status"] == "cancelled"
    async with service.client() as client:
        found = (await client.get(f"/portal/conversations/{conversation_id}")).json()
    assert "The beginning".startswith(found["messages"][-1]["content"][:13])
    assert found["messages"][-1]["metadata"]["status"] == "interrupted"


async def test_a_dropped_socket_resumes_elsewhere_with_the_same_text(service: Service, gate: Path) -> None:
    """A dropped socket never stops a task; `resume` goes on receiving it: nothing missed, nothing twice."""
    async with portal(service) as line:
        await line.send(type="chat", message="please hold two")
        await line.until(is_token)
        line.connection.transport.abort()
        first = line.frames
    seen = max(frame.get("offset", 0) for frame in first)
    task_id = next(frame["task_id"] for frame in first if frame["type"] == "routing")
    resume = {
        "type": "resume",
        "task_id": task_id,
        "conversation_id": first[0]["conversation_id"],
        "after": seen,
    }
    async with portal(service) as line:
        await line.send(**resume)
        before = await line.until(is_token)
        assert before[-1]["data"]["data"]["reset"] is True
        assert before[-1]["data"]["data"]["content"].startswith("The beginning"[:5])
        (gate / "two").touch()
        rest = await line.until(lambda frame: frame["type"] == "result")
    offsets = [frame["offset"] for frame in (*first, *before, *rest) if "offset" in frame]
    assert offsets == sorted(set(offsets))
    assert rest[-1]["data"]["message"] == "The beginning, and the end."
    async with portal(service) as line:  # a finished task answers at once with its result
        await line.send(**{key: value for key, value in resume.items() if key != "after"})
        frames = await line.until(lambda frame: frame["type"] == "result")
    assert [frame["type"] for frame in frames] == ["connected", "result"]
    assert frames[-1]["data"]["message"] == "The beginning, and the end."


async def test_resume_fails_closed(service: Service) -> None:
    """No conversation, an unknown task, or a task of another conversation: an error frame and nothing else."""
    async with portal(service) as line:
        frames = await line.turn("something", conversation_id="mine")
        task_id = frames[-1]["data"]["task_id"]
        await line.turn("something", conversation_id="other")
        attempts = [
            {"task_id": task_id},
            {"task_id": task_id, "conversation_id": "other"},
            {"task_id": "no-uuid", "conversation_id": "mine"},
            {"task_id": "00000000-0000-0000-0000-000000000000", "conversation_id": "mine"},
        ]
        for attempt in attempts:
            await line.send(type="resume", **attempt)
            assert (await line.receive())["type"] == "error"
        await line.send(type="ping")
        assert await line.receive() == {"type": "pong"}


async def test_the_same_client_message_is_taken_once(service: Service) -> None:
    async with portal(service) as line:
        sent = {"conversation_id": "once", "client_message_id": "m1"}
        first = await line.turn("take me once", **sent)
        again = await line.turn("take me once", **sent)
    assert first[-1]["data"]["task_id"] == again[-1]["data"]["task_id"]
    async with service.client() as client:
        found = (await client.get("/portal/conversations/once")).json()
    assert [message["role"] for message in found["messages"]] == ["user", "assistant"]


async def test_a_17th_socket_closes_the_oldest(service: Service) -> None:
    """At most 16 sockets a user; the oldest is closed with 1008."""
    async with asyncio.timeout(60):
        lines = []
        try:
            for _ in range(17):
                line = portal(service)
                opened = await line.__aenter__()
                lines.append((line, opened))
                await opened.send(type="ping")
                await opened.receive()
            with pytest.raises(ConnectionClosed):
                await lines[0][1].connection.recv()
            assert lines[0][1].connection.close_code == 1008
        finally:
            for line, _ in lines:
                await line.__aexit__(None, None, None)


async def test_keys_heartbeat_and_chinese(dsn: str, tmp_path: Path) -> None:
    """A wrong or missing key: an error frame, then 4001. A silent client is closed with 1000. Texts by locale."""
    keys = [
        {"key": "key-of-ana-0123456789", "user": "ana"},
        {"key": "key-of-bob-0123456789", "user": "bob"},
        {"key": "key-of-eve-0123456789", "user": "eve", "role": "auditor"},
    ]
    settings = {
        "model": script(tmp_path, []),
        "api_keys": json.dumps(keys),
        "heartbeat_seconds": "1",
        "auth_seconds": "0.2",
        "locale": "zh",
    }
    with running_service(tmp_path, dsn, **settings) as service:
        for path in ("/api/v1/portal/ws", "/api/v1/portal/ws?api_key=wrong-key-0123456789"):
            async with portal(service, path) as line:
                assert "API 密钥" in (await line.receive())["data"]["message"]
                with pytest.raises(ConnectionClosed):
                    await line.connection.recv()
                assert line.connection.close_code == 4001
        ana = {"X-API-Key": "key-of-ana-0123456789"}
        async with portal(service, additional_headers=ana) as line:
            frames = await line.turn("@board ", conversation_id="c")
            assert frames[-1]["type"] == "error"
            frames = await line.turn("讲个故事", conversation_id="c")
            with pytest.raises(ConnectionClosed):
                await line.connection.recv()
            assert line.connection.close_code == 1000
        async with portal(service, "/api/v1/portal/ws?api_key=key-of-bob-0123456789") as line:
            task_id = frames[-1]["data"]["task_id"]
            await line.send(type="resume", task_id=task_id, conversation_id="c")
            assert (await line.receive())["type"] == "error"  # another user's task
        async with portal(service, additional_headers={"X-API-Key": "key-of-eve-0123456789"}) as line:
            assert (await line.turn("write"))[-1]["type"] == "error"  # auditors change nothing
        async with service.client(headers=ana) as client:
            assert (await client.get("/portal/conversations/c")).json()["title"] == "讲个故事"
            assert (await client.get("/portal/conversations", headers={"X-API-Key": "no"})).status_code == 401
