"""Pushes and reminders over two real servers on one database (wire contract, section 9)."""

import json
from collections.abc import Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.support.chat import chat, opened
from tests.support.databases import TestServer
from tests.support.logs import until
from tests.support.portal import Frame, Portal, portal
from tests.support.service import Service, running_service, script

KEYS = [
    *({"key": f"{user}'s key, long enough", "user": user} for user in ("ana", "bob", "cyd", "dan", "fay")),
    {"key": "root's key, long enough", "user": "root", "role": "admin"},
    {"key": "eve's key, long enough", "user": "eve", "role": "auditor"},
]
RULES = [{"when": {}, "answer": {"text": "Done as scheduled."}}]


@pytest.fixture(scope="module")
def two(server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Service]]:
    """Two processes on one database."""
    folders = [tmp_path_factory.mktemp("node") for _ in range(2)]
    keys = json.dumps(KEYS)
    with (
        server.database() as dsn,
        running_service(folders[0], dsn, model=script(folders[0], RULES), api_keys=keys) as first,
        running_service(folders[1], dsn, model=script(folders[1], RULES), api_keys=keys) as second,
    ):
        yield first, second


def key_of(user: str) -> dict[str, str]:
    return {"X-API-Key": f"{user}'s key, long enough"}


def client_of(service: Service, user: str) -> httpx.AsyncClient:
    return service.client(headers=key_of(user))


async def send(service: Service, by: str, to: str, message: Any, **more: Any) -> httpx.Response:
    async with client_of(service, by) as client:
        return await client.post(f"/users/{to}/notifications", json={"message": message, **more})


def is_notification(frame: Frame) -> bool:
    return frame["type"] == "notification"


async def notified(line: Portal) -> Frame:
    return (await line.until(is_notification))[-1]


async def texts_before_pong(line: Portal) -> list[str]:
    """What a socket has been sent by the time that it answers a ping."""
    await line.send(type="ping")
    frames = await line.until(lambda frame: frame["type"] == "pong")
    return [frame["data"]["message"]["text"] for frame in frames if is_notification(frame)]


async def until_delivered(service: Service, user: str, offset: int) -> None:
    """It is on record, so that no other socket is sent it again."""
    async with client_of(service, user) as client:

        async def delivered() -> bool:
            return (await client.get("/notifications")).json()["delivered_until"] >= offset

        await until(delivered)


async def test_a_push_reaches_every_socket_of_the_user_on_both_nodes(two: tuple[Service, Service]) -> None:
    """Section 9: `send_to_user` reaches all of a user's sockets on every node, and nobody else's."""
    async with AsyncExitStack() as stack:
        lines: list[Portal] = []
        for service in two:
            options = {"additional_headers": key_of("ana")}
            async with client_of(service, "ana") as client:
                session_id = await opened(client)
            lines.append(await stack.enter_async_context(portal(service, **options)))
            lines.append(await stack.enter_async_context(chat(service, session_id, **options)))
        other = await stack.enter_async_context(portal(two[0], additional_headers=key_of("bob")))
        sent = await send(two[0], "root", "ana", {"text": "hello", "n": 1}, kind="news")
        assert sent.status_code == 201
        frames = [await notified(line) for line in lines]
        second = await send(two[1], "root", "ana", "and again")
        again = [await notified(line) for line in lines]
        assert await texts_before_pong(other) == []
    (frame,) = [*{json.dumps(one): one for one in frames}.values()]
    assert frame["offset"] == sent.json()["offset"]
    assert frame["data"] == {
        "notification_id": sent.json()["notification_id"],
        "kind": "news",
        "message": {"text": "hello", "n": 1},
        "created_at": sent.json()["created_at"],
    }
    assert {one["offset"] for one in again} == {second.json()["offset"]}
    assert again[0]["data"]["message"] == {"text": "and again"}


async def test_what_comes_while_nobody_is_there_is_kept_until_the_next_connection(
    two: tuple[Service, Service],
) -> None:
    """Section 9: now or at their next connection; and then not at the one after that."""
    first, second = two
    options = {"additional_headers": key_of("bob")}
    for text in ("one", "two", "three"):
        last = (await send(first, "root", "bob", text)).json()["offset"]
    async with portal(second, **options) as line:
        frames = [await notified(line) for _ in range(3)]
        assert [frame["data"]["message"]["text"] for frame in frames] == ["one", "two", "three"]
        await until_delivered(first, "bob", last)
    await send(first, "root", "bob", "four")
    async with portal(first, **options) as line:
        assert (await notified(line))["data"]["message"]["text"] == "four"
        assert await texts_before_pong(line) == []
    # A client that keeps a cursor gets what is behind it, delivered or not.
    path = f"/api/v1/portal/ws?notifications_after={frames[0]['offset']}"
    async with portal(second, path, **options) as line:
        told = [(await notified(line))["data"]["message"]["text"] for _ in range(3)]
        assert told == ["two", "three", "four"]
    async with portal(second, "/api/v1/portal/ws?notifications_after=x", **options) as line:
        assert "notifications_after" in (await line.receive())["data"]["message"]


async def test_many_notifications_reach_a_socket_in_order_and_once(two: tuple[Service, Service]) -> None:
    """More than are kept in memory, sent while the socket is open and before."""
    first, second = two
    async with client_of(first, "cyd") as client:
        for number in range(90):
            await client.post("/users/cyd/notifications", json={"message": {"n": number}})
        async with portal(second, additional_headers=key_of("cyd")) as line:
            for number in range(90, 180):
                await client.post("/users/cyd/notifications", json={"message": {"n": number}})
            numbers = [(await notified(line))["data"]["message"]["n"] for _ in range(180)]
        assert numbers == list(range(180))
        found, after = list[int](), 0
        while after is not None:
            page = (await client.get("/notifications", params={"after": after, "limit": 100})).json()
            found += [one["message"]["n"] for one in page["notifications"]]
            after = page.get("next_after")
        assert found == numbers


async def test_sent_twice_under_one_id_is_sent_once(two: tuple[Service, Service]) -> None:
    first, second = two
    sent = [await send(one, "dan", "dan", "once", notification_id="n-1") for one in (first, second)]
    assert [response.status_code for response in sent] == [201, 201]
    assert sent[0].json() == sent[1].json()
    other = await send(first, "dan", "dan", "another", notification_id="n-1")
    assert other.status_code == 409


@pytest.mark.parametrize(
    ("by", "to", "message", "status"),
    [
        ("ana", "bob", "hi", 404),  # as if bob did not exist
        ("ana", "nobody", "hi", 404),
        ("eve", "eve", "hi", 403),
        ("root", "a b", "hi", 404),
        ("dan", "dan", "", 400),
        ("dan", "dan", 7, 400),
        ("dan", "dan", {"text": "x" * 70_000}, 413),
    ],
)
async def test_who_may_not_send_or_sends_nonsense_is_told_so(
    two: tuple[Service, Service], by: str, to: str, message: Any, status: int
) -> None:
    response = await send(two[0], by, to, message)
    assert response.status_code == status
    assert response.json()["detail"]


async def test_admins_and_auditors_read_what_others_were_sent(two: tuple[Service, Service]) -> None:
    await send(two[0], "root", "fay", "for fay")
    for user, status in (("root", 200), ("eve", 200), ("bob", 404)):
        async with client_of(two[1], user) as client:
            got = await client.get("/notifications", params={"owner": "fay"})
            assert got.status_code == status
            assert ("for fay" in got.text) == (status == 200)


async def test_a_reminder_is_told_once_on_both_nodes(two: tuple[Service, Service]) -> None:
    """`POST /reminders` at a time, with two nodes that both look at what is due."""
    first, second = two
    options = {"additional_headers": key_of("dan")}
    async with portal(first, **options) as here, portal(second, **options) as there:
        at = datetime.now(UTC) + timedelta(seconds=1)
        async with client_of(first, "dan") as client:
            body = {"text": "tea", "at": at.isoformat(), "time_zone": "Asia/Shanghai"}
            response = await client.post("/reminders", json=body)
            assert response.status_code == 201, response.text
            reminder = response.json()
            assert reminder["status"] == "open"
            frames = [
                (
                    await line.until(
                        lambda frame: is_notification(frame) and frame["data"]["kind"] == "reminder"
                    )
                )[-1]
                for line in (here, there)
            ]
            after = [await texts_before_pong(line) for line in (here, there)]
            fired = (await client.get(f"/reminders/{reminder['reminder_id']}")).json()
    assert frames[0] == frames[1]
    assert after == [[], []]
    assert frames[0]["data"]["message"]["text"] == "tea"
    assert frames[0]["data"]["message"]["reminder_id"] == reminder["reminder_id"]
    assert datetime.fromisoformat(frames[0]["data"]["created_at"]) >= at
    assert (fired["status"], fired["times_fired"]) == ("fired", 1)


async def test_a_schedule_asks_its_agent(two: tuple[Service, Service]) -> None:
    first, second = two
    options = {"additional_headers": key_of("fay")}
    async with client_of(second, "fay") as client, portal(first, **options) as line:
        at = (datetime.now(UTC) + timedelta(seconds=0.5)).isoformat()
        body = {"text": "water the plants", "at": at, "agent_name": "assistant"}
        reminder = (await client.post("/reminders", json=body)).json()
        is_mine = lambda frame: is_notification(frame) and frame["data"]["kind"] == "reminder"  # noqa: E731
        message = (await line.until(is_mine))[-1]["data"]["message"]
        assert message["conversation_id"] == reminder["conversation_id"]
        await line.send(type="resume", task_id=message["task_id"], conversation_id=message["conversation_id"])
        ended = (await line.until(lambda frame: frame["type"] in ("result", "error")))[-1]
        assert ended["data"]["message"] == "Done as scheduled."
        shown = (await client.get(f"/portal/conversations/{message['conversation_id']}")).json()
        said = [(one["role"], one["content"]) for one in shown["messages"]]
        assert said == [("user", "water the plants"), ("assistant", "Done as scheduled.")]


async def test_reminders_are_listed_read_and_cancelled_by_their_owner(two: tuple[Service, Service]) -> None:
    async with client_of(two[0], "cyd") as cyd, client_of(two[1], "bob") as bob:
        ids = list[str]()
        for number in range(3):
            body = {"text": f"{number}", "cron": "0 9 * * MON-FRI", "time_zone": "Europe/Berlin"}
            ids.append((await cyd.post("/reminders", json=body)).json()["reminder_id"])
        page = (await cyd.get("/reminders", params={"limit": 2})).json()
        rest = (await cyd.get("/reminders", params={"cursor": page["next_cursor"]})).json()
        listed = [one["reminder_id"] for one in (*page["reminders"], *rest["reminders"])]
        assert listed == ids[::-1]
        for request in (bob.get, bob.delete):
            assert (await request(f"/reminders/{ids[0]}")).status_code == 404
        cancelled = await cyd.delete(f"/reminders/{ids[0]}")
        assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
        assert (await cyd.delete(f"/reminders/{ids[0]}")).status_code == 409
        still = (await cyd.get("/reminders", params={"status": "open"})).json()["reminders"]
        assert [one["reminder_id"] for one in still] == ids[:0:-1]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"text": "x"}, 400),
        ({"text": "x", "at": "2020-01-01T00:00:00Z"}, 400),
        ({"text": "x", "at": "tomorrow"}, 400),
        ({"text": "x", "cron": "* * * * * *"}, 400),
        ({"text": "x", "cron": "0 9 * * *", "time_zone": "Mars"}, 400),
        ({"text": "", "cron": "0 9 * * *"}, 400),
        ({"text": "x" * 4_001, "cron": "0 9 * * *"}, 400),
        ({"text": "x", "cron": "0 9 * * *", "agent_name": "nobody"}, 404),
        ({"text": "x", "cron": "0 9 * * *", "conversation_id": "a/b"}, 400),
        ({"text": "x", "cron": "0 9 * * *", "kron": ""}, 400),
    ],
)
async def test_a_reminder_that_cannot_be_is_told_so(
    two: tuple[Service, Service], body: dict[str, Any], status: int
) -> None:
    async with client_of(two[0], "ana") as client:
        response = await client.post("/reminders", json=body)
        assert response.status_code == status, response.text
        assert response.json()["detail"]
        assert (await client.get("/reminders")).json()["reminders"] == []


async def test_what_was_due_while_no_server_was_there_is_told_at_the_start(
    server: TestServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("late")
    model = script(folder, RULES)
    with server.database() as dsn:
        with running_service(folder, dsn, model=model) as first:
            async with first.client() as client:
                at = datetime.now(UTC) + timedelta(seconds=1)
                body = {"text": "late", "at": at.isoformat()}
                assert (await client.post("/reminders", json=body)).status_code == 201
                first.kill()
        with running_service(folder, dsn, model=model) as second:
            async with portal(second) as line:
                frame = await notified(line)
                assert frame["data"]["message"]["text"] == "late"
                assert datetime.fromisoformat(frame["data"]["created_at"]) >= at
                assert await texts_before_pong(line) == []
