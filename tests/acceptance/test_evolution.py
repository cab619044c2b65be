"""Contract section 8: experiences, metrics and pitfalls over REST and the socket, on two nodes of the real service."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.support import real
from tests.support.databases import TestServer
from tests.support.portal import Frame, portal
from tests.support.service import ROOT, Service, running_service, script

KEYS = {name: f"key-of-{name}-0123456789" for name in ("ana", "bob", "eve")}
ROLES = {"eve": "auditor"}
SOCKET = "/api/v1/evolution/ws"
RULES: list[dict[str, Any]] = [
    {
        "when": {"last_user_contains": "break"},
        "answer": {"error": {"class": "bad_request", "message": "The model refused the request."}},
    },
    {
        "when": {"last_user_contains": "compute", "step": 0},
        "answer": {
            "tool_calls": [
                {"name": "calculator", "arguments": {"expression": "6*7"}},
                {"name": "calculator", "arguments": {"expression": "1/0"}},
            ]
        },
    },
    {"when": {"last_user_contains": "compute"}, "answer": {"text": "Found it."}},
    {"when": {}, "answer": {"text": "Hello."}},
]
PERIODS = ["24h", "7d", "30d"]
CONTRACT = {"id", "task_type", "goal", "outcome", "duration_seconds", "created_at"}
ANALYTICS = {
    *("agent", "skill", "mode", "model", "steps", "tool_calls", "total_tokens", "cost_usd", "error_class"),
    *("conversation_id", "first_offset", "last_offset"),
}


@pytest.fixture(scope="module")
def nodes(server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Service]]:
    folder = tmp_path_factory.mktemp("evolution")
    keys = [{"key": key, "user": name, "role": ROLES.get(name, "member")} for name, key in KEYS.items()]
    with server.database() as dsn:
        settings = {"model": script(folder, RULES), "api_keys": json.dumps(keys)}
        with (
            running_service(folder / "one", dsn, **settings) as one,
            running_service(folder / "two", dsn, **settings) as two,
        ):
            yield one, two


@pytest.fixture
async def people(nodes: tuple[Service, Service]) -> AsyncIterator[dict[str, httpx.AsyncClient]]:
    """By name, on the first node."""
    async with AsyncExitStack() as stack:
        yield {
            name: await stack.enter_async_context(nodes[0].client(headers={"X-API-Key": key}))
            for name, key in KEYS.items()
        }


async def say(client: httpx.AsyncClient, message: str, **more: Any) -> dict[str, Any]:
    response = await client.post("/portal/chat", json={"message": message, **more})
    assert response.status_code == 200, response.text
    return response.json()


async def asked(client: httpx.AsyncClient, path: str, **query: Any) -> dict[str, Any]:
    response = await client.get(f"/evolution/{path}", params=query)
    assert response.status_code == 200, response.text
    return response.json()


async def newest(client: httpx.AsyncClient, **query: Any) -> list[dict[str, Any]]:
    return (await asked(client, "experiences", **query))["experiences"]


async def test_every_ended_task_leaves_an_experience(people: dict[str, httpx.AsyncClient]) -> None:
    ana = people["ana"]
    long = "please compute " + "and compute " * 40
    await say(ana, long, conversation_id="ana-1")
    await say(ana, "break it", conversation_id="ana-1")
    failed, computed = (await newest(ana))[:2]
    for one in (failed, computed):
        assert one.keys() >= CONTRACT | ANALYTICS
        assert (one["agent"], one["conversation_id"]) == ("assistant", "ana-1")
        assert one["first_offset"] < one["last_offset"]
    assert (failed["outcome"], failed["goal"], failed["error_class"]) == (
        "failure",
        "break it",
        "bad_request",
    )
    assert (computed["outcome"], computed["tool_calls"], computed["result"]) == ("success", 2, "Found it.")
    assert len(computed["goal"]) == 200
    assert computed["tools"]["calculator"]["calls"] == 2
    assert computed["tools"]["calculator"]["errors"] == 1
    alone = await ana.get(f"/evolution/experiences/{computed['id']}")
    assert alone.json() == computed
    task = (await ana.get(f"/tasks/{computed['id']}")).json()
    assert (task["first_offset"], task["last_offset"]) == (computed["first_offset"], computed["last_offset"])
    assert (await people["bob"].get(f"/evolution/experiences/{computed['id']}")).status_code == 404


async def test_experiences_are_found_by_what_they_were(people: dict[str, httpx.AsyncClient]) -> None:
    bob = people["bob"]
    for number in range(5):
        await say(bob, f"greet the {number}th guest", conversation_id=f"bob-{number}")
    await say(bob, "订一张去上海的机票", conversation_id="bob-zh")
    await say(bob, "break the glass", conversation_id="bob-x")
    assert [one["goal"] for one in await newest(bob, outcome="failure")] == ["break the glass"]
    assert [one["goal"] for one in await newest(bob, q="上海")] == ["订一张去上海的机票"]
    assert [one["goal"] for one in await newest(bob, q="guest 3th")] == ["greet the 3th guest"]
    assert await newest(bob, agent="nobody") == []
    every = await newest(bob, owner="bob")
    paged, cursor = [], None
    while True:
        page = await asked(bob, "experiences", limit=2, **({} if cursor is None else {"cursor": cursor}))
        paged += page["experiences"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert paged == every
    since = every[2]["created_at"]
    assert [one["id"] for one in await newest(bob, since=since)] == [one["id"] for one in every[:3]]
    assert (await bob.get("/evolution/experiences", params={"owner": "ana"})).status_code == 404
    assert {one["owner"] for one in await newest(people["eve"], limit=200)} >= {"bob"}
    assert {one["owner"] for one in await newest(people["eve"], owner="bob")} == {"bob"}
    assert (await bob.delete("/portal/conversations/bob-x")).status_code == 200
    assert await newest(bob, outcome="failure") == []  # what it said is forgotten
    assert (await asked(bob, "metrics"))["figures"]["failed"] == 1  # that it was is not


async def test_metrics_count_what_has_ended(people: dict[str, httpx.AsyncClient]) -> None:
    eve, ana = people["eve"], people["ana"]
    before = await asked(eve, "metrics", period="7d", zone="Asia/Kolkata")
    await say(ana, "please compute", conversation_id="ana-metrics")
    await say(ana, "break it", conversation_id="ana-metrics")
    after = await asked(eve, "metrics", period="7d", zone="Asia/Kolkata", by="agent")
    grown = {
        name: after["figures"][name] - before["figures"][name]
        for name in ("runs", "succeeded", "failed", "tool_calls")
    }
    assert grown == {"runs": 2, "succeeded": 1, "failed": 1, "tool_calls": 2}
    assert (after["period"], after["bucket"], after["zone"]) == ("7d", "day", "Asia/Kolkata")
    assert sum(bar["runs"] for bar in after["timeline"]) == after["figures"]["runs"]
    assert len(after["timeline"]) == 8
    assert all(datetime.fromisoformat(bar["start"]).minute == 30 for bar in after["timeline"])
    (group,) = [one for one in after["groups"]["agent"] if one["value"] == "assistant"]
    assert group["runs"] == group["durations"]["timed"] == after["durations"]["timed"]
    assert group["durations"]["p50_seconds"] == pytest.approx(
        after["durations"]["p50_seconds"], rel=0.02, abs=0.001
    )
    (tool,) = after["tools"]
    assert (tool["tool"], tool["error_rate"]) == ("calculator", 0.5)
    assert {"error_class": "bad_request", "runs": after["figures"]["failed"]} in after["errors"]
    assert after["figures"]["success_rate"] == after["figures"]["succeeded"] / after["figures"]["runs"]
    past = await asked(eve, "metrics", period="7d", as_of=before["until"])
    assert past["figures"] == before["figures"]
    position = (await asked(eve, "experiences", limit=1))["experiences"][0]["position"]
    last = {"as_of": f"position:{position - 1}", "period": "7d"}
    assert (await asked(eve, "metrics", **last))["figures"]["runs"] == after["figures"]["runs"] - 1
    (before_last,) = (await asked(eve, "experiences", limit=1, as_of=last["as_of"]))["experiences"]
    assert before_last["position"] < position
    mine = await asked(ana, "metrics")
    assert mine["figures"]["runs"] == len(await newest(ana, limit=200))
    late = await asked(eve, "metrics", as_of="9999-12-31T23:59:59.999999Z")
    assert late["figures"]["runs"] == 0
    narrowed = await asked(eve, "metrics", period="30d", mode="nothing")
    assert (narrowed["figures"]["runs"], narrowed["durations"], narrowed["groups"]) == (0, None, {})


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ({"period": "3d"}, "period"),
        ({"since": "yesterday"}, "since='yesterday' is not a time"),
        ({"since": "2026-01-02T00:00:00"}, "is not a time"),
        ({"since": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"}, "is no range"),
        ({"since": "1900-01-01T00:00:00Z"}, "is no range"),
        ({"until": "0001-01-01T00:00:00Z"}, "is no range"),
        ({"until": "9999-12-31T23:59:59Z", "since": "2026-01-02T00:00:00Z"}, "is no range"),
        ({"until": "2026-01-01T00:00:00Z", "as_of": "2026-01-01T00:00:00Z"}, "send one of them"),
        ({"as_of": "position:99999999"}, "no position 99999999"),
        ({"as_of": "offset:3"}, "send a time here"),
        ({"as_of": "once"}, "is not a moment"),
        ({"zone": "Mars/Base"}, "no time zone 'Mars/Base'"),
        ({"agent": "a", "mode": "b"}, "agent, mode together"),
        ({"by": "owner"}, "by"),
    ],
)
async def test_ranges_and_groups_that_make_no_sense_are_told_so(
    people: dict[str, httpx.AsyncClient], query: dict[str, str], told: str
) -> None:
    response = await people["ana"].get("/evolution/metrics", params=query)
    assert response.status_code in (400, 422), response.text
    assert told in response.text


async def test_failures_that_repeat_are_pitfalls(people: dict[str, httpx.AsyncClient]) -> None:
    ana = people["ana"]
    for number in range(3):
        await say(ana, f"break number {number}", conversation_id="ana-pitfall")
    found = (await asked(ana, "pitfalls", at_least=3))["pitfalls"]
    (run,) = [one for one in found if one["kind"] == "run"]
    assert (run["agent"], run["error_class"]) == ("assistant", "bad_request")
    assert run["failures"] >= 3
    assert run["examples"][0]["goal"] == "break number 2"
    assert (await asked(people["bob"], "pitfalls"))["pitfalls"] == []


def key_of(name: str) -> dict[str, Any]:
    return {"additional_headers": {"X-API-Key": KEYS[name]}}


async def test_experiences_are_told_once_also_after_a_reconnect_on_the_other_node(
    nodes: tuple[Service, Service], people: dict[str, httpx.AsyncClient]
) -> None:
    def is_added(frame: Frame) -> bool:
        return frame["type"] == "experience_added"

    told: list[Frame] = []
    async with portal(nodes[0], SOCKET, **key_of("ana")) as line:
        connected = await line.receive()
        assert (connected["type"], connected["owner"]) == ("connected", "ana")
        await say(people["ana"], "first", conversation_id="ana-socket")
        await say(people["bob"], "not for ana", conversation_id="bob-socket")
        told += [one for one in await line.until(is_added) if is_added(one)]
    await say(people["ana"], "second", conversation_id="ana-socket")
    await say(people["ana"], "break the third", conversation_id="ana-socket")
    async with portal(nodes[1], f"{SOCKET}?after={told[-1]['cursor']}", **key_of("ana")) as line:
        while len(told) < 3:
            told += [one for one in await line.until(is_added) if is_added(one)]
        await say(people["ana"], "fourth", conversation_id="ana-socket")
        told += [one for one in await line.until(is_added) if is_added(one)]
    assert [(one["data"]["goal"], one["data"]["outcome"]) for one in told] == [
        ("first", "success"),
        ("second", "success"),
        ("break the third", "failure"),
        ("fourth", "success"),
    ]
    async with portal(nodes[1], f"{SOCKET}?after={connected['cursor']}", **key_of("eve")) as line:
        assert (await line.receive())["owner"] is None
        seen = [
            one["data"]["goal"]
            for one in await line.until(lambda one: is_added(one) and one["data"]["goal"] == "fourth")
            if is_added(one)
        ]
    assert seen == ["first", "not for ana", "second", "break the third", "fourth"]


async def test_word_of_changed_metrics_is_coalesced(
    nodes: tuple[Service, Service], people: dict[str, httpx.AsyncClient]
) -> None:
    """Ten experiences that were there before it looked are one word for each period."""
    bob = people["bob"]
    async with portal(nodes[0], SOCKET, **key_of("bob")) as line:
        cursor = (await line.receive())["cursor"]
    for number in range(10):
        await say(bob, f"again {number}", conversation_id=f"bob-many-{number}")
    async with portal(nodes[0], f"{SOCKET}?after={cursor}", **key_of("bob")) as line:
        await line.receive()
        frames = await line.until(
            lambda one: one["type"] == "metrics_updated" and one["data"]["period"] == "30d"
        )
    assert [one["type"] for one in frames] == ["experience_added"] * 10 + ["metrics_updated"] * 3
    assert [one["data"]["period"] for one in frames[10:]] == PERIODS


async def test_bad_frames_and_cursors_are_told_so(nodes: tuple[Service, Service]) -> None:
    async with portal(nodes[0], SOCKET, **key_of("ana")) as line:
        await line.receive()
        await line.send(type="sing")
        assert "sing" in (await line.receive())["data"]["message"]
        await line.send(type="ping")
        assert (await line.receive())["type"] == "pong"
    for query, word in (("after=x", "not a cursor"), ("after=1,2", "not a cursor"), ("owner=bob", "'bob'")):
        async with portal(nodes[0], f"{SOCKET}?{query}", **key_of("ana")) as line:
            frame = await line.receive()
            assert frame["type"] == "error"
            assert word in frame["data"]["message"]
            await line.connection.wait_closed()
            assert line.connection.close_code == 4004


@pytest.fixture
def imported(nodes: tuple[Service, Service]) -> None:
    """The real conversations are carl's."""
    command = [sys.executable, "-m", "app.cli", "import", str(real.CONVERSATIONS), "--owner", "carl"]
    environment = {**os.environ, "DATABASE_URL": nodes[0].dsn or ""}
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, timeout=60)


@real.needs_conversations
@pytest.mark.usefixtures("imported")
async def test_a_plain_computation_over_the_real_conversations_agrees(
    people: dict[str, httpx.AsyncClient],
) -> None:
    """Done-when 4: counts, tools and outcomes of the 100 conversations, from the file by itself."""
    conversations = [json.loads(line) for line in real.CONVERSATIONS.read_text(encoding="utf-8").splitlines()]
    tools, steps = Counter[str](), 0
    for one in conversations:
        assistants = [message for message in one["messages"] if message["role"] == "assistant"]
        steps += len(assistants)
        for message in assistants:
            tools.update(call["function"]["name"] for call in message.get("tool_calls") or ())
    good = sum(one["reward"] >= 1 for one in conversations)

    eve = people["eve"]
    of_carl = await asked(eve, "metrics", period="24h", owner="carl", by="tool")
    of_all = await asked(eve, "metrics", period="24h", task_type="imported")
    everybody = await asked(eve, "metrics", period="24h")
    for found in (of_carl["figures"], of_all["figures"]):
        assert (found["runs"], found["succeeded"], found["failed"]) == (
            len(conversations),
            good,
            len(conversations) - good,
        )
        assert (found["steps"], found["tool_calls"]) == (steps, tools.total())
    assert {one["tool"]: one["calls"] for one in of_carl["tools"]} == tools
    assert {one["tool"]: one["calls"] for one in everybody["tools"] if one["tool"] != "calculator"} == tools
    rows, cursor = [], None
    while cursor is not None or not rows:
        page = await asked(
            eve, "experiences", owner="carl", limit=60, **({"cursor": cursor} if cursor else {})
        )
        rows += page["experiences"]
        cursor = page["next_cursor"]
    by_conversation = {one["conversation_id"]: one for one in rows}
    assert len(by_conversation) == len(rows) == len(conversations)
    for one in conversations:
        row = by_conversation[one["id"]]
        assert row["outcome"] == ("success" if one["reward"] >= 1 else "failure")
        goal = " ".join(next(m["content"] for m in one["messages"] if m["role"] == "user").split())
        assert row["goal"] == (goal if len(goal) <= 200 else goal[:199] + "…")
        assert row["duration_seconds"] is None
    assert datetime.fromisoformat(of_carl["until"]) - datetime.fromisoformat(of_carl["since"]) == timedelta(
        hours=24
    )
