"""Contract section 1, `POST /portal/chat/stream`: server-sent events with `Last-Event-ID`."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec


async def events_of(response: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    """Server-sent events: `event`, `id` (None where there is none) and decoded `data`."""
    event: dict[str, Any] = {"event": "message", "id": None}
    async for line in response.aiter_lines():
        if line.startswith(":"):
            continue
        if not line:
            if "data" in event:
                yield event
            event = {"event": "message", "id": None}
            continue
        field, _, value = line.partition(": ")
        event[field] = msgspec.json.decode(value) if field == "data" else value


async def test_one_event_a_step(client: httpx.AsyncClient) -> None:
    """First `routing` `{skill, method, confidence}`; then one event per step with `{step, data, timestamp}`."""
    async with client.stream(
        "POST", "/portal/chat/stream", json={"message": "please compute it"}
    ) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        found = [event async for event in events_of(response)]
    assert found[0]["event"] == "routing"
    assert found[0]["data"].keys() >= {"skill", "method", "confidence"}
    names = [event["event"] for event in found if event["event"] != "token"]
    assert names == ["routing", "thinking", "tool_call", "tool_result", "final_answer"]
    assert all(event["data"].keys() == {"step", "data", "timestamp"} for event in found[1:])
    assert found[-1]["data"]["data"]["content"] == "Found: 6*7 = 42."
    ids = [int(event["id"]) for event in found if event["id"]]
    assert ids == sorted(set(ids))


async def test_a_failed_turn_ends_with_an_error_event(client: httpx.AsyncClient) -> None:
    async with client.stream("POST", "/portal/chat/stream", json={"message": "break now"}) as response:
        found = [event async for event in events_of(response)]
    assert found[-1]["event"] == "error"
    assert found[-1]["data"]["data"]["message"] == "The model refused the request."


async def test_last_event_id_misses_nothing_and_repeats_nothing(client: httpx.AsyncClient) -> None:
    """For every id of a turn: what comes behind it is exactly the rest, and the message is not taken again."""
    body: dict[str, Any] = {"message": "please compute it", "conversation_id": "sse"}
    async with client.stream("POST", "/portal/chat/stream", json=body) as response:
        whole = [event async for event in events_of(response)]
    logged = [event for event in whole if event["id"]]
    for number, event in enumerate(logged):
        headers = {"Last-Event-ID": event["id"]}
        async with client.stream("POST", "/portal/chat/stream", json=body, headers=headers) as response:
            rest = [one async for one in events_of(response)]
        assert rest == logged[number + 1 :]
    found = (await client.get("/portal/conversations/sse")).json()
    assert found["message_count"] == 2


async def test_a_dropped_stream_resumes_in_mid_answer(client: httpx.AsyncClient, gate: Path) -> None:
    body: dict[str, Any] = {"message": "please hold three", "conversation_id": "sse dropped"}
    seen = "0"
    async with asyncio.timeout(30), client.stream("POST", "/portal/chat/stream", json=body) as response:
        async for event in events_of(response):
            seen = event["id"] or seen
            if event["event"] == "token":
                break
    (gate / "three").touch()
    headers = {"Last-Event-ID": seen}
    async with client.stream("POST", "/portal/chat/stream", json=body, headers=headers) as response:
        rest = [event async for event in events_of(response)]
    assert rest[-1]["event"] == "final_answer"
    assert rest[-1]["data"]["data"]["content"] == "The beginning, and the end."
    tokens = [event["data"]["data"] for event in rest if event["event"] == "token"]
    assert not tokens or tokens[0]["reset"]


async def test_an_unknown_place_is_refused(client: httpx.AsyncClient) -> None:
    body = {"message": "x", "conversation_id": "never was"}
    for last, status in (("5", 404), ("nonsense", 400)):
        response = await client.post("/portal/chat/stream", json=body, headers={"Last-Event-ID": last})
        assert response.status_code == status
    response = await client.post("/portal/chat/stream", json={"message": "x"}, headers={"Last-Event-ID": "5"})
    assert response.status_code == 400
