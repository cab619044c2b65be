"""Contract sections 2 and 9 over two real processes on one database: quotas, whom they bind, and what clients see."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.support.chat import chat, opened, told
from tests.support.databases import TestServer
from tests.support.portal import portal
from tests.support.service import Service, running_service, script

ROOT = {"X-API-Key": "key-of-root-0123456789"}
EVE = {"X-API-Key": "key-of-eve-0123456789"}
FIELDS = {"department_id", "quota_type", "period", "limit", "current"}
RULES: list[dict[str, Any]] = [
    {
        "when": {"last_user_contains": "compute", "step": 0},
        "answer": {"tool_calls": [{"name": "calculator", "arguments": {"expression": "6*7"}}]},
    },
]
MESSAGES = 24

Pair = tuple[Service, Service]


@pytest.fixture(scope="module")
def pair(server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("quotas")
    keys = [
        {"key": ROOT["X-API-Key"], "user": "root", "role": "admin"},
        {"key": EVE["X-API-Key"], "user": "eve", "role": "auditor"},
    ]
    settings = {"model": script(folder, RULES), "api_keys": json.dumps(keys), "feed_heartbeat_seconds": "1"}
    with (
        server.database() as dsn,
        running_service(folder / "here", dsn, **settings) as here,
        running_service(folder / "there", dsn, **settings) as there,
    ):
        yield here, there


class Member:
    """A new member of a new department, as a client of the first process."""

    def __init__(self, service: Service, root: httpx.AsyncClient, stack: AsyncExitStack) -> None:
        self.service = service
        self.root = root
        self._stack = stack
        self.department, self.user = f"d-{uuid4()}", f"u-{uuid4()}"

    async def join(self) -> None:
        await self._made("/admin/departments", department_id=self.department, name="Sales")
        await self._made("/admin/users", user_id=self.user, role="member", department_id=self.department)
        self.headers = await self.key()
        self.client = await self._stack.enter_async_context(self.service.client(headers=self.headers))

    async def key(self, **more: Any) -> dict[str, str]:
        issued = await self._made("/admin/keys", user_id=self.user, **more)
        return {"X-API-Key": issued["key"]}

    async def limited(
        self, quota_type: str, limit: float, period: str = "month", *, own: bool = False
    ) -> None:
        subject = ("user", self.user) if own else ("department", self.department)
        quota = dict(zip(("subject", "subject_id"), subject, strict=True))
        quota |= {"quota_type": quota_type, "period": period, "limit": limit}
        answer = await self.root.put("/admin/quotas", json=quota)
        assert answer.status_code == 200, answer.text

    async def say(self, message: str, **more: Any) -> httpx.Response:
        return await self.client.post("/portal/chat", json={"message": message, **more})

    async def _made(self, path: str, **body: Any) -> dict[str, Any]:
        answer = await self.root.post(path, json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()


@pytest.fixture
async def ana(pair: Pair) -> AsyncIterator[Member]:
    async with AsyncExitStack() as stack:
        root = await stack.enter_async_context(pair[1].client(headers=ROOT))
        member = Member(pair[0], root, stack)
        await member.join()
        yield member


def checked(info: dict[str, Any], ana: Member, **expected: Any) -> None:
    """Section 2: `quota_info:{department_id, quota_type, period, limit, current}`."""
    assert info.keys() == FIELDS
    assert info["department_id"] == ana.department
    assert info["current"] >= info["limit"]
    assert expected.items() <= info.items()


async def test_a_message_over_quota_is_refused_and_nothing_is_written(ana: Member) -> None:
    """Section 9: quotas are checked before a run."""
    await ana.limited("requests", 1)
    assert (await ana.say("hello")).json()["status"] == "completed"
    refused = await ana.say("hello again", conversation_id="never")
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 31 * 24 * 3600
    body = refused.json()
    assert body["detail"].startswith("Your department has used up its 1 messages for this month;")
    checked(body["quota_info"], ana, quota_type="requests", period="month", limit=1, current=1)
    assert (await ana.client.get("/portal/conversations/never")).status_code == 404


async def test_a_run_that_uses_up_its_quota_fails_and_says_so_over_rest(ana: Member) -> None:
    await ana.limited("tokens", 1)
    answer = await ana.say("compute")
    assert (answer.status_code, answer.json()["status"]) == (200, "failed")
    checked(answer.json()["quota_info"], ana, quota_type="tokens", period="month", limit=1)
    await ana.limited("tokens", answer.json()["quota_info"]["current"] + 1)
    session_id = await opened(ana.client)
    answer = await ana.client.post(f"/chat/sessions/{session_id}/messages", json={"content": "compute"})
    assert (answer.status_code, answer.json()["status"]) == (200, "failed")
    checked(answer.json()["quota_info"], ana, quota_type="tokens")


async def test_a_stream_says_which_quota_is_used_up(ana: Member) -> None:
    await ana.limited("tokens", 1)
    answer = await ana.client.post("/portal/chat/stream", json={"message": "compute"})
    (line,) = [line for line in answer.text.splitlines() if "quota_info" in line]
    checked(json.loads(line.removeprefix("data:"))["data"]["quota_info"], ana, limit=1)
    answer = await ana.client.post("/portal/chat/stream", json={"message": "compute"})
    assert answer.status_code == 429
    checked(answer.json()["quota_info"], ana, limit=1)


async def test_the_portal_s_socket_says_which_quota_is_used_up(ana: Member) -> None:
    """Section 2, on the socket of section 1: "Over quota: `error` with `quota_info`"."""
    await ana.limited("tokens", 1)
    async with portal(ana.service, additional_headers=ana.headers) as line:
        for _ in ("in the middle of a run", "before it"):
            error = (await line.turn("compute"))[-1]
            assert error["type"] == "error"
            assert error["data"]["message"].startswith("Your department has used up its 1 tokens")
            checked(error["data"]["quota_info"], ana, quota_type="tokens", limit=1)
        await line.send(type="ping")
        assert (await line.receive())["type"] == "pong"


async def test_the_chat_s_socket_says_which_quota_is_used_up(ana: Member) -> None:
    """Section 2: "Over quota: `error` with `quota_info:{department_id, quota_type, period, limit, current}`"."""
    await ana.limited("tokens", 1, "day")
    session_id = await opened(ana.client)
    async with chat(ana.service, session_id, additional_headers=ana.headers) as line:
        for _ in ("in the middle of a run", "before it"):
            error = (await told(line, "compute"))[-1]
            assert error["type"] == "error"
            checked(error["data"]["quota_info"], ana, quota_type="tokens", period="day", limit=1)


async def test_service_keys_and_admins_are_not_bound(pair: Pair, ana: Member) -> None:
    """Section 9: "which bind their members and not admins or service keys"."""
    await ana.limited("requests", 0)
    assert (await ana.say("hello")).status_code == 429
    async with ana.service.client(headers=await ana.key(service=True)) as service:
        assert (await service.post("/portal/chat", json={"message": "hello"})).json()["status"] == "completed"
    changed = await ana.root.patch(f"/admin/users/{ana.user}", json={"role": "admin"})
    assert changed.status_code == 200, changed.text
    assert (await ana.say("hello")).json()["status"] == "completed"
    shown = (await ana.client.get("/quotas")).json()
    assert (shown["bound"], [one["current"] for one in shown["quotas"]]) == (False, [0])


async def test_many_messages_at_once_to_two_processes_are_taken_up_to_the_limit(
    pair: Pair, ana: Member
) -> None:
    """Section 9, requests: exact on several nodes."""
    limit = 5
    await ana.limited("requests", limit, "day")
    async with pair[1].client(headers=ana.headers) as elsewhere:
        clients = (ana.client, elsewhere)
        answers = await asyncio.gather(
            *(clients[n % 2].post("/portal/chat", json={"message": f"hello {n}"}) for n in range(MESSAGES))
        )
    assert sorted(one.status_code for one in answers) == [200] * limit + [429] * (MESSAGES - limit)
    assert len((await ana.client.get("/portal/conversations")).json()) == limit


async def test_people_see_what_is_left_of_their_quotas(ana: Member) -> None:
    await ana.limited("requests", 10, "month")
    await ana.limited("tokens", 1, "day", own=True)
    assert (await ana.say("hello")).status_code == 200
    before = datetime.now(UTC)
    shown = (await ana.client.get("/quotas")).json()
    after = datetime.now(UTC)
    assert (shown["owner"], shown["department_id"], shown["bound"]) == (ana.user, ana.department, True)
    own, department = shown["quotas"]
    assert (own["subject"], own["subject_id"], own["department_id"]) == ("user", ana.user, "")
    assert (own["quota_type"], own["period"], own["limit"]) == ("tokens", "day", 1)
    assert own["current"] > 1
    assert (department["subject"], department["limit"], department["current"]) == ("department", 10, 1)
    starts, resets = (datetime.fromisoformat(own[name]) for name in ("period_start", "resets_at"))
    assert before - timedelta(days=1) <= starts <= after
    assert resets - starts == timedelta(days=1)
    assert department["period_start"][8:] == "01T00:00:00Z"


async def test_auditors_and_admins_see_anybody_s_and_members_nobody_else_s(pair: Pair, ana: Member) -> None:
    await ana.limited("cost", 2.5, "day")
    async with pair[0].client(headers=EVE) as eve:
        for reader in (eve, ana.root):
            shown = (await reader.get("/quotas", params={"owner": ana.user})).json()
            assert (shown["owner"], shown["department_id"]) == (ana.user, ana.department)
            listed = (await reader.get("/quotas", params={"department": ana.department})).json()
            assert (listed["owner"], listed["quotas"]) == ("", shown["quotas"])
    assert shown["quotas"][0]["limit"] == 2.5
    assert (await ana.client.get("/quotas", params={"department": ana.department})).status_code == 200
    for foreign in ({"owner": "root"}, {"department": "another"}):
        answer = await ana.client.get("/quotas", params=foreign)
        assert answer.status_code == 404
        assert answer.json()["detail"].startswith("There is nothing of")
