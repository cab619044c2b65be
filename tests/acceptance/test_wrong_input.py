"""Input on a real service that speaks Chinese: cursors of every list, old ones too, times, and what cannot be used.
Every error names what the client has sent, in that language."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.support.databases import TestServer
from tests.support.portal import portal
from tests.support.service import Service, running_service, script

PLAIN = {"content-type": "application/json"}
LISTS = {
    "/tasks": "tasks",
    "/chat/sessions": "",
    "/chat/uploads": "files",
    "/reminders": "reminders",
    "/evolution/experiences": "experiences",
    "/admin/users": "users",
}
TIMED = (
    "/evolution/metrics?since=",
    "/evolution/metrics?until=",
    "/evolution/metrics?as_of=",
    "/evolution/pitfalls?as_of=",
    "/evolution/experiences?since=",
    "/portal/conversations/talk?as_of=",
    "/tasks?conversation_id=talk&as_of=",
)


@pytest.fixture(scope="module")
def service(server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("wrong")
    with (
        server.database() as dsn,
        running_service(folder, dsn, model=script(folder, []), locale="zh") as running,
    ):
        yield running


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/tasks?limit=abc", "limit='abc'：应为 `int`"),
        ("/tasks?limit=0", "limit='0'：应为 >= 1 的 `int`"),
        ("/chat/sessions?status=foo", "status='foo' 不在可用值之列：active, closed"),
        ("/chat/sessions?owner=", "owner=''：应为长度 >= 1 的 `str`"),
        ("/evolution/metrics?owner=", "owner=''：应为长度 >= 1 的 `str`"),
        ("/evolution/metrics?period=1y", "period='1y' 不在可用值之列：24h, 7d, 30d"),
        (
            "/evolution/metrics?by=owner",
            "by='owner' 不在可用值之列：agent, skill, mode, model, department, task_type, tool",
        ),
        (
            "/evolution/experiences?outcome=luck",
            "outcome='luck' 不在可用值之列：success, failure, cancelled",
        ),
        ("/conversations/talk/minutes?format=pdf", "format='pdf' 不在可用值之列：json, markdown"),
        ("/conversations/talk/minutes?task=x", "task='x' 不是 UUID。"),
        ("/conversations/talk/events?task_id=x", "task_id='x' 不是 UUID。"),
        ("/conversations/talk/events?wait=long", "wait='long'：应为 `float`"),
        (f"/tasks?agent_name={'x' * 201}", f"agent_name='{'x' * 39}…'：应为长度 <= 200 的 `str`"),
        ("/tasks?limit=x&cursor=1&agent_name=a", "limit='x'：应为 `int`"),
    ],
)
async def test_a_parameter_that_cannot_be_used_is_told_by_its_name_and_value(
    service: Service, path: str, told: str
) -> None:
    async with service.client() as client:
        response = await client.get(path)
    assert (response.status_code, response.json()["detail"]) == (400, told)


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        ("/portal/chat", {"message": 7}, "message：应为 `str`，实为 `int`"),
        ("/portal/chat", {}, "缺少必填字段 `message`"),
        (
            "/admin/users",
            {"user_id": "u", "role": "king"},
            "role：无效的值 'king'；可用值：admin, member, auditor",
        ),
        (
            "/portal/chat",
            {"message": "a", "conversation_id": "a/b"},
            "conversation_id 须为 1-200 个可打印字符且不含“/”，当前为 3 个：'a/b'。",
        ),
        (
            "/chat/sessions",
            {"agent_name": "assistant", "session_id": "a/b"},
            "session_id 须为 1-200 个可打印字符且不含“/”，当前为 3 个：'a/b'。",
        ),
        ("/reminders", {"text": "tea", "cron": "99 9 * * *"}, "（“分”无效）"),
        ("/reminders", {"text": "tea", "cron": "9 * * *"}, "（共 4 个字段）"),
        ("/portal/chat", b'{"message":"\\ud800"}', "无法读取请求正文：含有半个字符：\\ud800 缺少另一半。"),
        ("/portal/chat", b"[" * 5_000, "无法读取请求正文：嵌套层数过多。"),
        ("/portal/chat", b'{"message":"\xff"}', "无法读取请求正文：不是 UTF-8 编码。"),
        ("/portal/chat", b'{"message":', "请求正文不是有效的 JSON：内容不完整。"),
    ],
)
async def test_a_body_that_cannot_be_used_is_told_in_the_language_of_the_service(
    service: Service, path: str, body: dict[str, Any] | bytes, told: str
) -> None:
    async with service.client() as client:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        response = await client.post(path, content=content, headers=PLAIN)
    assert response.status_code == 400, response.text
    assert told in response.json()["detail"]


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        (
            "messages",
            {"role": "user", "content": "a", "run": False, "model": "m"},
            "model：仅用于由智能体回答的消息，请去掉。",
        ),
        ("messages", {"role": "tool", "run": True}, "run：只有角色为 user 的消息才会得到回答，请去掉 run。"),
        (
            "messages",
            {"content": "a", "name": "ana"},
            "name：仅用于不由智能体回答的消息；请去掉，或发送 run: false。",
        ),
        ("messages", {"content": [{"type": "image_url"}]}, "content：智能体只回答文本；请发送字符串或"),
        (
            "messages",
            {"content": "a", "client_id": "x", "client_message_id": "y"},
            "client_id：为 'x'，而 client_message_id 为 'y'",
        ),
        ("messages", {"role": "assistant"}, "message.content：缺失；助手的消息须有"),
        (
            "openai-messages",
            {"messages": [{"role": "user", "content": "a"}, {"role": "robot", "content": "a"}]},
            "messages[1].role：无效的值 'robot'；role 须为以下之一：developer, system",
        ),
    ],
)
async def test_a_message_that_cannot_be_kept_is_told_in_the_language_of_the_service(
    service: Service, path: str, body: dict[str, Any], told: str
) -> None:
    async with service.client() as client:
        opened = (await client.post("/chat/sessions", json={"agent_name": "assistant"})).json()
        response = await client.post(f"/chat/sessions/{opened['session_id']}/{path}", json=body)
    assert response.status_code == 400, response.text
    assert told in response.json()["detail"]


async def test_a_stream_that_cannot_be_resumed_says_what_is_missing(service: Service) -> None:
    async with service.client() as client:
        headers = {"Last-Event-ID": "3"}
        response = await client.post("/portal/chat/stream", json={"message": "a"}, headers=headers)
    assert response.status_code == 400
    assert response.json()["detail"].startswith("Last-Event-ID 需要 routing 事件中给出的 conversation_id")


async def test_no_error_shows_what_may_be_a_secret(service: Service) -> None:
    """A value in a body, or a key beside a parameter that cannot be used."""
    async with service.client() as client:
        bodies = [
            await client.post("/admin/users", json={"user_id": "u", "role": ["hush-hush-hush"]}),
            await client.get("/tasks?limit=x&api_key=hush-hush-hush"),
        ]
    for response in bodies:
        assert response.status_code in (400, 401)
        assert "hush" not in response.text


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (b'{"type":"ping"}', "该消息没有文本；请以文本帧（而非二进制帧）发送 JSON。"),
        ("[]", "消息必须是带有 type 的 JSON 对象；可用类型：chat"),
        ("{}", "消息必须是带有 type 的 JSON 对象；可用类型：chat"),
        ('{"type":"chat","message":"\\ud800"}', "无法读取该消息：含有半个字符：\\ud800 缺少另一半。"),
        ("[" * 5_000, "无法读取该消息：嵌套层数过多。"),
        ('{"type":"chat","message":7}', "该 chat 消息无效：message：应为 `str`，实为 `int`"),
        ('{"type":"chat"}', "该 chat 消息无效：缺少必填字段 `message`"),
    ],
)
async def test_a_frame_that_cannot_be_used_is_told_with_its_true_reason(
    service: Service, sent: str | bytes, told: str
) -> None:
    async with portal(service) as line:
        await line.connection.send(sent)
        frame = await line.receive()
        assert frame["data"]["message"].startswith(told), frame
        await line.send(type="ping")
        assert await line.receive() == {"type": "pong"}


async def test_no_call_ignores_a_moment_of_the_past(service: Service) -> None:
    """Whoever asks for the past never gets the present without being told so."""
    async with service.client() as client:
        await client.post("/portal/chat", json={"message": "Good morning", "conversation_id": "talk"})
        opened = (await client.post("/chat/sessions", json={"agent_name": "assistant"})).json()
        for path in (
            f"/chat/sessions/{opened['session_id']}",
            "/chat/sessions",
            "/conversations/talk/events",
            "/portal/conversations",
            "/reminders",
            "/admin/users",
        ):
            for as_of in ("offset:1", "garbage", ""):
                response = await client.get(path, params={"as_of": as_of})
                assert response.status_code == 400, (path, response.text)
                assert response.json()["detail"].startswith(f"此调用不支持 as_of（as_of='{as_of}'）"), path
        refused = await client.delete("/portal/conversations/talk", params={"as_of": "offset:1"})
        assert refused.status_code == 400
        assert (await client.get("/portal/conversations/talk")).status_code == 200


@pytest.mark.parametrize(
    "path",
    ["portal/ws", "conversations/talk/feed", "chat/ws/talk", f"ws/tasks/{UUID(int=1)}", "evolution/ws"],
)
async def test_no_socket_ignores_a_moment_of_the_past(service: Service, path: str) -> None:
    async with connect(f"{service.socket_url}/api/v1/{path}?as_of=offset:1") as socket:
        frame = json.loads(await socket.recv())
        assert frame["type"] == "error"
        assert frame["data"]["message"].startswith("此调用不支持 as_of（as_of='offset:1'）"), frame
        await socket.wait_closed()
        assert socket.close_code == 1008


async def test_every_parameter_of_the_document_is_told_by_its_own_name(service: Service) -> None:
    """Sent what none of them can be, every reading call that has a number or one of a few words names it."""
    async with service.client() as client:
        document = (await httpx.AsyncClient(base_url=service.url).get("/schema/openapi.json")).json()
        asked = 0
        for path, item in document["paths"].items():
            if "get" not in item or not path.startswith("/api/v1/"):
                continue
            for parameter in item["get"].get("parameters", []):
                if parameter["in"] == "query" and _is_narrow(parameter["schema"]):
                    name = parameter["name"]
                    address = path.removeprefix("/api/v1").replace("{conversation_id}", "talk")
                    response = await client.get(address, params={name: "!?"})
                    assert response.json()["detail"].startswith(f"{name}='!?'"), (address, response.text)
                    asked += 1
        assert asked > 10


async def test_lists_go_page_by_page_also_from_a_plain_cursor_of_before(service: Service) -> None:
    """Every list has three entries and is read in pages of one. A plain cursor goes on at the same place."""
    async with service.client() as client:
        plain: dict[str, list[str]] = {path: [] for path in LISTS}
        for number in range(3):
            await client.post("/portal/chat", json={"message": "Good morning", "conversation_id": "talk"})
            await client.post("/chat/sessions", json={"agent_name": "assistant"})
            await client.post("/chat/upload", files={"file": (f"{number}.txt", b"a line")})
            await client.post("/reminders", json={"text": "tea", "cron": "0 9 * * *"})
            await client.post("/admin/users", json={"user_id": f"user-{number}"})
        for path, name in LISTS.items():
            seen: list[str] = []
            cursor, cursors = "", list[str]()
            while True:
                response = await client.get(path, params={"limit": 1, "cursor": cursor})
                assert response.status_code == 200, (path, response.text)
                (row,) = response.json()[name] if name else response.json()
                seen.append(str(row))
                plain[path].append(plain_cursor(path, row))
                following = response.json()["next_cursor"] if name else response.headers.get("x-next-cursor")
                if following is None:
                    break
                assert not set(following) & set("~:/+= ")
                assert not following.isdigit()
                cursor = following
                cursors.append(cursor)
            assert len(seen) == len(set(seen)) >= 3, path
            if path in ("/tasks", "/admin/users"):
                for old, new in zip(plain[path], cursors, strict=False):
                    pages = [
                        (await client.get(path, params={"limit": 1, "cursor": one})).json()
                        for one in (old, new)
                    ]
                    assert pages[0] == pages[1], old
                    assert pages[0] != (await client.get(path, params={"limit": 1})).json()


def plain_cursor(path: str, row: dict[str, str]) -> str:
    """What an earlier release gave out behind this row."""
    match path:
        case "/tasks":
            return f"{row['created_at']}~{row['task_id']}"
        case "/admin/users":
            return row["user_id"]
        case _:
            return ""


async def test_what_cannot_be_read_is_told_in_the_language_of_the_service(service: Service) -> None:
    async with service.client() as client:
        await client.post("/portal/chat", json={"message": "Good morning", "conversation_id": "talk"})
        for path in LISTS:
            response = await client.get(path, params={"cursor": "page two"})
            assert response.status_code == 400, (path, response.text)
            expected = "'page two' 不是此列表的游标；请使用上一页返回的游标，或不提供。"
            assert response.json()["detail"] == expected, path
        for path in TIMED:
            response = await client.get(path + "2026-01-31T09:00:00")
            assert response.status_code == 400, (path, response.text)
            name = path.rpartition("=")[0].rpartition("?")[2].rpartition("&")[2]
            expected = f"{name}='2026-01-31T09:00:00' 不是带时区的有效时间，请写成"
            assert response.json()["detail"].startswith(expected), path
        for query, word in (("after=x", "不是游标"), ("after=9999", "对话结束于"), ("task_id=x", "UUID。")):
            response = await client.get(f"/conversations/talk/events?{query}")
            assert word in response.json()["detail"], response.text
        for as_of in ("offset:9999", "position:99999999"):
            response = await client.get(f"/portal/conversations/talk?as_of={as_of}")
            assert response.status_code == 400
            assert f"as_of='{as_of}' 尚未发生：对话位于 offset:" in response.json()["detail"]
        (task,) = (await client.get("/tasks?conversation_id=talk&limit=1")).json()["tasks"]
    for path in (
        "/api/v1/conversations/talk/feed?after=x",
        f"/api/v1/ws/tasks/{task['task_id']}?after=x",
        "/api/v1/evolution/ws?after=x",
    ):
        async with portal(service, path) as line:
            frame = await line.receive()
            assert "after='x' 不是游标" in str(frame), path
            with pytest.raises(ConnectionClosed):
                await line.connection.recv()


async def test_a_plus_sign_that_came_as_a_blank_is_one_in_every_time(service: Service) -> None:
    async with service.client() as client:
        await client.post("/portal/chat", json={"message": "Good morning", "conversation_id": "talk"})
        for path in TIMED:
            now = (
                "2026-01-31T09:00:00+01:00"
                if "since" in path or "evolution" in path
                else "9999-01-01T00:00+01:00"
            )
            response = await client.get(path + now)
            assert response.status_code == 200, (path, response.text)


def _is_narrow(schema: dict[str, Any]) -> bool:
    kinds = [schema, *schema.get("oneOf", [])]
    return any("enum" in one or one.get("type") in ("integer", "number", "boolean") for one in kinds)
