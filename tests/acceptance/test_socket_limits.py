"""What holds for every socket: who may open one, how fast it may talk, and how it ends when the service does."""

import asyncio
import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.support.databases import TestServer
from tests.support.logs import until
from tests.support.portal import Portal, is_token, portal
from tests.support.service import Service, running_service, script

ANA, ROOT, EVE = (f"key-of-{name}-0123456789" for name in ("ana", "root", "eve"))
USERS = ((ANA, "ana", "member"), (ROOT, "root", "admin"), (EVE, "eve", "auditor"))
FRIEND = "https://friend.example.com"
EVIL = "https://evil.example.com"
SURFACES = (
    "/api/v1/portal/ws",
    "/api/v1/chat/ws/none",
    "/api/v1/ws/tasks/none",
    "/api/v1/conversations/none/feed",
)
END_SECONDS_MAX = 30


@pytest.fixture(scope="module")
def guarded(server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that asks for keys."""
    folder = tmp_path_factory.mktemp("guarded")
    settings = {
        "model": script(folder, []),
        "api_keys": json.dumps([{"key": key, "user": user, "role": role} for key, user, role in USERS]),
        "allowed_origins": json.dumps([FRIEND]),
        "auth_seconds": "3",
        "socket_frames_per_second": "5",
    }
    with server.database() as dsn, running_service(folder, dsn, **settings) as running:
        yield running


async def refused(line: Portal) -> tuple[str, int | None]:
    """The sentence and the close code."""
    frame = await line.receive()
    assert frame["type"] == "error"
    with pytest.raises(ConnectionClosed):
        await line.connection.recv()
    return frame["data"]["message"], line.connection.close_code


async def test_a_socket_may_say_who_it_is_in_its_first_frame(guarded: Service) -> None:
    async with portal(guarded) as line:
        await line.send(type="auth", api_key=ANA)
        frames = await line.turn("hello there", conversation_id="by-frame")
        assert frames[-1]["data"]["message"] == "You said: hello there"
    async with guarded.client(headers={"X-API-Key": ANA}) as client:
        assert (await client.get("/portal/conversations/by-frame")).status_code == 200


@pytest.mark.parametrize("path", SURFACES)
@pytest.mark.parametrize(
    "sent",
    [
        '{"type":"ping"}',
        '{"type":"auth","api_key":"wrong-key-0123456789"}',
        '{"type":"auth"}',
        "no JSON",
        '{"type":"auth","token":"' + "x" * 100_000 + '"}',
        b"\x00\x01",
    ],
    ids=["ping", "wrong key", "no key", "no JSON", "too long", "bytes"],
)
async def test_any_other_first_frame_is_refused(guarded: Service, path: str, sent: str | bytes) -> None:
    async with portal(guarded, path) as line:
        await line.connection.send(sent)
        message, code = await refused(line)
    assert "API key" in message
    assert code == 4001


async def test_silence_is_refused_after_a_while(guarded: Service) -> None:
    async with portal(guarded) as line:
        message, code = await refused(line)
    assert "within 3 seconds" in message
    assert code == 4001


@pytest.mark.parametrize("path", SURFACES)
async def test_pages_of_other_origins_open_no_sockets(guarded: Service, path: str) -> None:
    """Refused before it is accepted, also with a good key; guard: the check of the origin."""
    with_key = {"X-API-Key": ANA}
    for origin in (EVIL, "null", f"http://127.0.0.1:{guarded.port + 1}"):
        with pytest.raises(InvalidStatus) as error:
            async with connect(guarded.socket_url + path, additional_headers=with_key, origin=origin):  # type: ignore[arg-type]
                pass
        assert error.value.response.status_code == 403
        assert b"allowed_origins" in error.value.response.body
    for origin in (FRIEND, guarded.url, None):
        async with connect(guarded.socket_url + path, additional_headers=with_key, origin=origin):  # type: ignore[arg-type]
            pass


async def test_a_refused_socket_puts_nothing_but_its_own_line_into_the_log(guarded: Service) -> None:
    """Anybody can have one refused. Guard: the server of the sockets takes the handshake for unfinished, and says so as
    an error."""
    ids = ("refused", "behind-it")
    named = [{"X-Request-ID": one} for one in ids]
    with pytest.raises(InvalidStatus) as error:
        async with connect(
            guarded.socket_url + SURFACES[0],
            origin=EVIL,
            additional_headers=named[0],  # type: ignore[arg-type]
        ):
            pass
    assert (error.value.response.status_code, error.value.response.headers["X-Request-ID"]) == (403, ids[0])
    async with guarded.client() as client:
        await client.get("/portal/conversations", headers=named[1])

    async def logged() -> bool:
        return any(ids[1] in line for line in guarded.output)

    await until(logged)
    lines = [json.loads(line) for line in guarded.output if line.startswith("{")]
    assert [line for line in lines if line["level"] not in ("debug", "info")] == []
    told = [line for line in lines if line.get("request_id") in ids]
    assert [(line["event"], line["method"], line["status"]) for line in told] == [
        ("request", "SOCKET", 403), ("request", "GET", 401),
    ]  # fmt: skip


async def test_who_sends_too_many_frames_is_told_and_in_the_end_closed(guarded: Service) -> None:
    """5 a second, 15 at once: then each is answered with an error, and after as many again comes 1008."""
    async with portal(guarded, additional_headers={"X-API-Key": ANA}) as line:
        for _ in range(60):
            await line.send(type="ping")
        with pytest.raises(ConnectionClosed):
            await line.until(lambda frame: False)
        kinds = [frame["type"] for frame in line.frames]
    assert kinds[:15] == ["pong"] * 15
    assert kinds.count("error") >= 15
    assert "5 frames a second" in line.frames[-1]["data"]["message"]
    assert line.connection.close_code == 1008


async def test_figures_are_for_admins_and_auditors(guarded: Service) -> None:
    root = guarded.url + "/metrics"
    async with guarded.client() as client:
        assert (await client.get(root)).status_code == 401
        assert (await client.get(root, headers={"X-API-Key": ANA})).status_code == 403
        for key in (ROOT, EVE):
            assert (await client.get(root, headers={"X-API-Key": key})).status_code == 200
        for path in ("/health", "/ready"):
            assert (await client.get(guarded.url + path)).status_code == 200


async def test_a_shutdown_tells_clients_to_come_back_and_keeps_what_was_said(
    server: TestServer, tmp_path: Path
) -> None:
    """Every socket gets 1012; a running task ends as cancelled with its partial output; a waiting one waits on."""
    held = {
        "when": {"last_user_contains": "hold"},
        "answer": {
            "text": "The beginning, and the end.",
            "chunk_chars": 5,
            "wait_for_file": str(tmp_path / "never"),
            "hold_after_chunks": 3,
        },
    }
    asks = {
        "when": {"last_user_contains": "ask me", "step": 0},
        "answer": {"tool_calls": [{"name": "ask_human", "arguments": {"question": "Which?"}}]},
    }
    settings = {"model": script(tmp_path, [held, asks]), "drain_seconds": "1", "sockets_per_user": "100"}
    with server.database() as dsn:
        with running_service(tmp_path, dsn, **settings) as service:
            sockets = [await connect(service.socket_url + "/api/v1/portal/ws") for _ in range(30)]
            async with portal(service) as waiting, portal(service) as running:
                await waiting.send(type="chat", message="ask me", conversation_id="waits")
                await waiting.until(
                    lambda frame: frame["type"] == "step" and frame["data"]["event_type"] == "turn.ask_human"
                )
                await running.send(type="chat", message="hold", conversation_id="runs")
                await running.until(is_token)
                service.process.send_signal(signal.SIGTERM)
                closing = [*sockets, waiting.connection, running.connection]
                async with asyncio.timeout(END_SECONDS_MAX):
                    await asyncio.gather(*(socket.wait_closed() for socket in closing))
                assert {socket.close_code for socket in closing} == {1012}
                assert {socket.close_reason for socket in closing} == {
                    "The server is being restarted; connect again."
                }
            assert service.process.wait(END_SECONDS_MAX) == 0
        folder = tmp_path / "second"
        folder.mkdir()
        with running_service(folder, dsn, model=script(folder, [asks])) as service:
            async with service.client() as client:
                ran = (await client.get("/portal/conversations/runs")).json()["messages"]
                assert "The beginning, and".startswith(ran[-1]["content"])
                assert ran[-1]["content"]
                tasks = (await client.get("/tasks")).json()["tasks"]
                found = {task["conversation_id"]: task["status"] for task in tasks}
    assert found["runs"] == "cancelled"
    assert found["waits"] in ("waiting", "running", "pending")


async def test_no_key_is_ever_in_the_log(guarded: Service) -> None:
    """The last of this file: after all of its calls, and some that carry a key where it may be seen."""
    async with guarded.client() as client:
        for path in ("/portal/conversations", "/no/such/path", "/portal/conversations/none"):
            await client.get(path, params={"api_key": ANA})
            await client.get(path, params={"token": ANA})
        await client.post("/portal/chat", params={"api_key": ANA}, content=b"{" * 5_000)
    async with portal(guarded, f"/api/v1/portal/ws?api_key={ANA}") as line:
        await line.connection.send("no JSON")
        await line.receive()
    guarded.stop()
    guarded.reader.join()
    output = "".join(guarded.output)
    assert '"event": "request"' in output
    for key in (ANA, ROOT, EVE, "wrong-key"):
        assert key not in output
