"""What stands in queries, on a real service that speaks Chinese: cursors of every list, old ones too, and times."""

from collections.abc import Iterator

import pytest
from websockets.exceptions import ConnectionClosed

from tests.support.databases import TestServer
from tests.support.portal import portal
from tests.support.service import Service, running_service, script

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
    folder = tmp_path_factory.mktemp("queries")
    with (
        server.database() as dsn,
        running_service(folder, dsn, model=script(folder, []), locale="zh") as running,
    ):
        yield running


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
