"""Contract sections 1 and 2: questions and confirmations, answered on any socket, over REST, on any node."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from tests.support.chat import ASKING, chat, of_type, opened, step_names, tokens, told
from tests.support.databases import TestServer
from tests.support.portal import Frame, Portal, portal, steps
from tests.support.service import Service, running_pair, running_service, script

SETTINGS = {"shell": "true", "feed_heartbeat_seconds": "1", "lease_seconds": "2"}


@pytest.fixture(scope="module")
def two_nodes(
    server: TestServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Service, Service]]:
    folder = tmp_path_factory.mktemp("people")
    with running_pair(server, folder, model=script(folder, ASKING), **SETTINGS) as pair:
        yield pair


@pytest.fixture
async def client(here: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with here.client() as opened_client:
        yield opened_client


async def asked(line: Portal, content: str = "ask me") -> Frame:
    await line.send(type="message", content=content)
    return (await line.until(lambda frame: frame["type"] in ("ask_human", "confirmation_request")))[-1]


async def test_a_question_is_answered_over_the_socket_and_only_once(
    here: Service, client: httpx.AsyncClient
) -> None:
    """`ask_human{question, request_id}`, then `reply`; a second answer is refused."""
    async with chat(here, await opened(client)) as line:
        question = await asked(line)
        assert question["question"] == "Which colour?"
        reply = {"type": "reply", "request_id": question["request_id"], "content": "Red"}
        await line.send(**reply)
        frames = await line.until(of_type("final_answer"))
        await line.send(**reply)
        refused = await line.receive()
    assert "turn.human_answered" in step_names(frames)
    assert tokens(frames) == "Noted. The answer: Red"
    assert refused["type"] == "error"
    assert question["request_id"][:8] in refused["data"]["message"]


async def test_a_confirmation_is_shown_and_consent_lets_the_command_run(
    here: Service, client: httpx.AsyncClient
) -> None:
    """`confirmation_request{data:{confirmation_id, command, reason}}`, `confirmation_reply`, `confirmation_result`."""
    async with chat(here, await opened(client)) as line:
        request = (await asked(line, "run it"))["data"]
        assert request["command"] == "echo done $((40+2))"
        assert request["reason"]
        confirmed = {"confirmation_id": request["confirmation_id"], "approved": True}
        await line.send(type="confirmation_reply", **confirmed)
        frames = await line.until(of_type("final_answer"))
    (result,) = [frame["data"] for frame in frames if frame["type"] == "confirmation_result"]
    assert result.items() >= confirmed.items()
    assert "done 42" in frames[-1]["content"]


async def test_a_refusal_keeps_the_command_from_running(here: Service, client: httpx.AsyncClient) -> None:
    async with chat(here, await opened(client)) as line:
        request = (await asked(line, "run it"))["data"]
        await line.send(type="confirmation_reply", confirmation_id=request["confirmation_id"], approved=False)
        frames = await line.until(of_type("final_answer"))
    (result,) = [frame["data"] for frame in frames if frame["type"] == "confirmation_result"]
    assert result["approved"] is False
    assert "done 42" not in frames[-1]["content"]


async def test_a_task_waits_while_its_question_is_open_and_is_answered_over_rest_on_another_node(
    here: Service, there: Service, client: httpx.AsyncClient
) -> None:
    """`POST /tasks/{id}/reply`: 409 for a second answer, 404 for an unknown task, 400 for an empty answer, which leaves
    the question open, over the socket too."""
    async with chat(here, await opened(client)) as line:
        question = await asked(line)
        body = {"request_id": question["request_id"], "content": "Blue"}
        async with there.client() as other:
            path = f"/tasks/{question['task_id']}/reply"
            assert (await other.post(f"/tasks/{uuid4()}/reply", json=body)).status_code == 404
            foreign = {**body, "request_id": f"{uuid4()}.2"}
            assert (await other.post(path, json=foreign)).status_code == 409
            empty = await other.post(path, json={**body, "content": " \n"})
            assert (empty.status_code, "empty" in empty.json()["detail"]) == (400, True)
            await line.send(type="reply", request_id=question["request_id"], content="")
            assert "empty" in (await line.until(of_type("error")))[-1]["data"]["message"]
            first, second = [await other.post(path, json=body) for _ in range(2)]
        frames = await line.until(of_type("final_answer"))
    assert (first.status_code, first.json()["status"]) == (200, "answered")
    assert (second.status_code, bool(second.json()["detail"])) == (409, True)
    assert frames[-1]["content"] == "Noted. The answer: Blue"


async def test_a_confirmation_is_given_over_rest(here: Service, client: httpx.AsyncClient) -> None:
    """`POST /tasks/{id}/confirm`."""
    async with chat(here, await opened(client)) as line:
        request = await asked(line, "run it")
        body = {"confirmation_id": request["data"]["confirmation_id"], "approved": True}
        path = f"/tasks/{request['task_id']}/confirm"
        first, second = [await client.post(path, json=body) for _ in range(2)]
        frames = await line.until(of_type("final_answer"))
    assert (first.status_code, first.json()["status"]) == (200, "approved")
    assert second.status_code == 409
    assert "done 42" in frames[-1]["content"]


async def test_a_task_that_waits_is_cancelled_over_rest(here: Service, client: httpx.AsyncClient) -> None:
    """`POST /tasks/{id}/cancel`: its question counts as unanswered; 409 once it has ended."""
    async with chat(here, await opened(client)) as line:
        question = await asked(line)
        path = f"/tasks/{question['task_id']}/cancel"
        assert (await client.post(path)).json()["status"] == "cancelling"
        frames = await line.until(of_type("result"))
        assert (await client.post(path)).status_code == 409
        assert (await client.post(f"/tasks/{uuid4()}/cancel")).status_code == 404
        assert (await client.post("/tasks/x/cancel")).status_code == 404
    assert frames[-1]["data"]["status"] == "cancelled"
    assert "turn.human_unanswered" in step_names(frames)


async def test_an_open_question_is_shown_again_on_another_node_and_answered_there(
    here: Service, there: Service, client: httpx.AsyncClient
) -> None:
    session_id = await opened(client)
    async with chat(here, session_id) as line:
        question = await asked(line)
    async with chat(there, session_id) as line:
        again = await line.receive()
        assert again["again"] is True
        assert (again["type"], again["request_id"]) == ("ask_human", question["request_id"])
        await line.send(type="reply", request_id=again["request_id"], content="Green")
        frames = await line.until(of_type("final_answer"))
    assert frames[-1]["content"] == "Noted. The answer: Green"


async def test_only_the_sockets_own_session_is_answered(here: Service, client: httpx.AsyncClient) -> None:
    async with chat(here, await opened(client)) as line, chat(here, await opened(client)) as other:
        question = await asked(line)
        await other.send(type="reply", request_id=question["request_id"], content="x")
        assert (await other.receive())["type"] == "error"
        await line.send(type="reply", request_id=question["request_id"], content="Red")
        await line.until(of_type("final_answer"))


async def test_the_portal_shows_and_answers_them_too(here: Service) -> None:
    """Steps `turn.ask_human`, `turn.confirmation_request` …; frames `reply` and `confirmation_reply`."""
    async with portal(here) as line:
        await line.send(type="chat", message="ask me")
        frames = await line.until(lambda frame: bool(steps([frame], "ask_human")))
        question = frames[-1]["data"]["data"]
        assert question["question"] == "Which colour?"
        await line.send(type="reply", request_id=question["request_id"], content="Red")
        frames = await line.until(of_type("result"))
        assert frames[-1]["data"]["message"] == "Noted. The answer: Red"
        assert steps(frames, "human_answered")
        await line.send(type="chat", message="run it")
        frames = await line.until(lambda frame: bool(steps([frame], "confirmation_request")))
        request = frames[-1]["data"]["data"]
        reply = {"type": "confirmation_reply", "confirmation_id": request["confirmation_id"]}
        await line.send(**reply, approved=True)
        frames = await line.until(of_type("result"))
        assert steps(frames, "confirmation_result")[0]["data"]["approved"] is True
        await line.send(**reply, approved=True)
        assert (await line.receive())["type"] == "error"


async def test_a_reload_shows_the_question_and_its_answer(here: Service, client: httpx.AsyncClient) -> None:
    session_id = await opened(client)
    async with chat(here, session_id) as line:
        question = await asked(line)
        await line.send(type="reply", request_id=question["request_id"], content="Red")
        await line.until(of_type("final_answer"))
    found = (await client.get(f"/portal/conversations/{session_id}")).json()
    shown = found["messages"][-1]["metadata"]["steps"]
    assert [step["name"] for step in shown] == ["ask_human", "human_answered"]
    assert (shown[0]["data"]["question"], shown[1]["data"]["content"]) == ("Which colour?", "Red")


async def test_a_question_outlives_the_process_that_asked_it(server: TestServer, tmp_path: Path) -> None:
    """SIGKILL while it is open; the next process shows it again, and its answer ends the task."""
    settings = {"model": script(tmp_path, ASKING), **SETTINGS}
    with server.database() as dsn:
        with running_service(tmp_path, dsn, **settings) as service:
            async with service.client() as client:
                session_id = await opened(client)
            async with chat(service, session_id) as line:
                question = await asked(line)
                service.kill()
        with running_service(tmp_path, dsn, **settings) as service:
            async with asyncio.timeout(60), chat(service, session_id) as line:
                assert (await line.receive())["request_id"] == question["request_id"]
                await line.send(type="reply", request_id=question["request_id"], content="Red")
                frames = await line.until(of_type("final_answer"))
    assert frames[-1]["content"] == "Noted. The answer: Red"


async def test_a_message_to_a_busy_task_is_heard_by_it(server: TestServer, tmp_path: Path) -> None:
    """With `busy = steer`: step `steered`, and `result` with status steered for the message that was heard."""
    settings = {"model": script(tmp_path, ASKING), "busy": "steer", **SETTINGS}
    with server.database() as dsn, running_service(tmp_path, dsn, **settings) as service:
        async with service.client() as client:
            session_id = await opened(client)
        async with chat(service, session_id) as line:
            question = await asked(line)
            await line.send(type="message", content="and make it bluish")
            await line.until(of_type("skill_match"))
            await line.send(type="reply", request_id=question["request_id"], content="Red")
            frames = await line.until(of_type("final_answer"))
            while not [frame for frame in line.frames if frame["type"] == "result"]:
                await line.receive()
            merged = next(frame["data"] for frame in line.frames if frame["type"] == "result")
        assert "turn.steered" in step_names(frames)
        assert (merged["status"], merged["merged_into"]) == ("steered", question["task_id"])
        async with portal(service) as line:
            await line.send(type="chat", message="ask me", conversation_id="steered")
            frames = await line.until(lambda frame: bool(steps([frame], "ask_human")))
            await line.send(type="chat", message="and make it bluish", conversation_id="steered")
            await line.until(of_type("routing"))
            request_id = frames[-1]["data"]["data"]["request_id"]
            await line.send(type="reply", request_id=request_id, content="Red")
            ended = [await line.until(of_type("result")) for _ in range(2)]
        statuses = {frames[-1]["data"].get("status") for frames in ended}
        assert statuses == {None, "steered"}


async def test_a_second_message_waits_for_its_turn(here: Service, client: httpx.AsyncClient) -> None:
    async with chat(here, await opened(client)) as line:
        question = await asked(line)
        await line.send(type="message", content="what a day, really")
        await line.until(of_type("skill_match"))
        await line.send(type="reply", request_id=question["request_id"], content="Red")
        first = (await line.until(of_type("final_answer")))[-1]
        second = (await line.until(of_type("final_answer")))[-1]
        third = await told(line, "and then, what else")
    assert [first["content"], second["content"]] == [
        "Noted. The answer: Red",
        "You said: what a day, really",
    ]
    assert third[-1]["content"] == "You said: and then, what else"


async def test_a_command_that_was_interrupted_is_told_as_of_unknown_effect(
    server: TestServer, tmp_path: Path
) -> None:
    """SIGKILL once the consent is used: the command is not run again, and the model and the person are told."""
    command = [{"name": "shell", "arguments": {"command": "sleep 30"}}]
    rules = [
        {"when": {"last_user_contains": "run it", "step": 0}, "answer": {"tool_calls": command}},
        *ASKING,
    ]
    settings = {"model": script(tmp_path, rules), **SETTINGS}
    with server.database() as dsn:
        with running_service(tmp_path, dsn, **settings) as service:
            async with service.client() as client:
                session_id = await opened(client)
                async with chat(service, session_id) as line:
                    request = await asked(line, "run it")
                    confirmed = {"confirmation_id": request["data"]["confirmation_id"], "approved": True}
                    await line.send(type="confirmation_reply", **confirmed)
                    query = f"after={request['offset']}&types=confirmation.used&wait=30"
                    found = await client.get(f"/conversations/{session_id}/events?{query}")
                    assert found.json()["events"]
                    service.kill()
        with running_service(tmp_path, dsn, **settings) as service:
            async with chat(service, session_id, query=f"after={request['offset']}") as line:
                frames = await line.until(of_type("final_answer"))
    (unknown,) = [frame["data"]["data"] for frame in frames if "turn.effect_unknown" in step_names([frame])]
    assert unknown["name"] == "shell"
    assert "not known" in frames[-1]["content"]
