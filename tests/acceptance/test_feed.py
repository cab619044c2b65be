"""The feed over all four transports of the real server, on real conversations."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import pytest

from app.core import streams
from app.core.envelope import NewEvent
from app.core.events import MessageReceived
from app.log.ids import new_id
from app.log.log import Log, open_log
from tests.support import feed, real
from tests.support.databases import TestServer
from tests.support.feed import Event, take
from tests.support.portal import portal
from tests.support.service import Service, decoded, running_service, script

CONVERSATIONS = 20
SOCKETS_AT_ONCE = 8


@pytest.fixture(scope="module")
def dsn(server: TestServer) -> Iterator[str]:
    with server.database() as address:
        yield address


@pytest.fixture(scope="module")
def service(dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("feed")
    with running_service(folder, dsn, model=script(folder, []), feed_heartbeat_seconds="0.5") as running:
        yield running


@pytest.fixture
async def log(dsn: str) -> AsyncIterator[Log]:
    """A second node on the service's database: what it appends reaches the service by notification."""
    opened = await open_log(dsn, node_id="another-node")
    yield opened
    await opened.close()


def conversations() -> list[dict[str, Any]]:
    if real.CONVERSATIONS.is_file():
        with real.CONVERSATIONS.open(encoding="utf-8") as lines:
            return [json.loads(line) for _, line in zip(range(CONVERSATIONS), lines, strict=False)]
    messages = [{"role": "user", "content": f"message {number}"} for number in range(25)]
    return [{"id": f"generated-{number}", "messages": messages} for number in range(CONVERSATIONS)]


def message(content: str) -> NewEvent:
    return NewEvent(new_id(), MessageReceived(str(new_id()), content), "user:local")


async def test_every_cursor_of_every_transport_gives_exactly_the_suffix(
    service: Service, client: httpx.AsyncClient, log: Log
) -> None:
    for conversation in conversations():
        stream = streams.conversation("local", conversation["id"])
        events = [message(str(one.get("content"))) for one in conversation["messages"]]
        head = (await log.append(stream, events, expected_offset=0)).last_offset
        whole = (await client.get(feed.path(conversation["id"]))).json()["events"]
        assert [event["offset"] for event in whole] == list(range(1, head + 1))
        assert [event["payload"]["content"] for event in whole] == [e.payload.content for e in events]  # type: ignore[union-attr]
        places = asyncio.Semaphore(SOCKETS_AT_ONCE)
        async with asyncio.TaskGroup() as group:
            for after in range(head):
                group.create_task(check_cursor(places, service, client, whole, conversation["id"], after))


async def check_cursor(
    places: asyncio.Semaphore,
    service: Service,
    client: httpx.AsyncClient,
    whole: list[Event],
    conversation_id: str,
    after: int,
) -> None:
    head = len(whole)
    readers = {
        "websocket": feed.websocket(service, conversation_id, after, batch=1 + after % 7),
        "sse": feed.sse(client, conversation_id, after),
        "ndjson": feed.ndjson(client, conversation_id, after),
        "long-poll": feed.long_poll(client, conversation_id, after),
    }
    async with places:
        for name, events in readers.items():
            assert await take(events, head) == whole[after:], name


async def test_at_the_end_nothing_was_missed_and_the_next_event_comes_live(
    service: Service, client: httpx.AsyncClient, log: Log
) -> None:
    stream = streams.conversation("local", "live")
    await log.append(stream, [message("one")])
    for number, open_reader in enumerate(
        (
            lambda after: feed.websocket(service, "live", after),
            lambda after: feed.sse(client, "live", after),
            lambda after: feed.ndjson(client, "live", after, follow=True),
            lambda after: feed.long_poll(client, "live", after),
        ),
        start=1,
    ):
        reading = asyncio.create_task(take(open_reader(number), number + 1))
        await log.append(stream, [message("next")])
        (event,) = await reading
        assert event["offset"] == number + 1


async def test_a_cursor_that_cannot_be_resumed_gets_an_answer(
    service: Service, client: httpx.AsyncClient, log: Log
) -> None:
    """Another epoch, and beyond the end: 409 with the snapshot and its offset, on every transport."""
    await log.append(streams.conversation("local", "cannot"), [message("one")])
    for after, reason in (
        ("000000000000:1", "other_epoch"),
        ("7", "beyond_end"),
        (f"{log.epoch}:7", "beyond_end"),
    ):
        for accept in ("application/json", "application/x-ndjson", "text/event-stream"):
            response = await client.get(
                feed.path("cannot"), params={"after": after}, headers={"Accept": accept}
            )
            assert response.status_code == 409
            resume = response.json()["resume"]
            assert (resume["answer"], resume["reason"], resume["head"]) == ("cannot", reason, 1)
            assert (await client.get(resume["snapshot"].removeprefix("/api/v1"))).status_code == 200
        async with portal(service, f"/api/v1/conversations/cannot/feed?after={after}") as line:
            frame = await line.receive()
            assert (frame["type"], frame["answer"], frame["reason"]) == ("resumed", "cannot", reason)


async def test_the_snapshots_address_leads_to_a_conversation_of_any_id(
    service: Service, client: httpx.AsyncClient, log: Log
) -> None:
    """Guard: an id that stands in the address as it is."""
    odd = "?#&%2F 会"
    await log.append(streams.conversation("ana@b", odd), [message("one")])
    place, asked = quote(odd, safe=""), urlencode({"after": "999", "owner": "ana@b"})
    response = await client.get(f"/conversations/{place}/events?{asked}")
    snapshot = response.json()["resume"]["snapshot"]
    assert snapshot == f"/api/v1/portal/conversations/{place}?owner=ana%40b"
    found = (await client.get(service.url + snapshot)).json()
    assert (found["id"], len(found["messages"])) == (odd, 1)
    async with portal(service, f"/api/v1/conversations/{place}/feed?{asked}") as line:
        assert (await line.receive())["snapshot"] == snapshot


@pytest.mark.parametrize("after", ["x", "1:2:x", "-1", "1.5", "9" * 30, "٣"])
async def test_what_is_no_cursor_is_named(client: httpx.AsyncClient, log: Log, after: str) -> None:
    await log.append(streams.conversation("local", "no cursor"), [message("one")])
    response = await client.get(feed.path("no cursor"), params={"after": after})
    assert response.status_code == 400
    assert "cursor" in response.json()["detail"]


async def test_an_unknown_conversation_is_404(service: Service, client: httpx.AsyncClient) -> None:
    assert (await client.get(feed.path("unknown"))).status_code == 404
    async with portal(service, "/api/v1/conversations/unknown/feed") as line:
        assert (await line.receive())["type"] == "error"


async def test_filters_skip_events_and_the_cursor_moves_past_them(
    service: Service, client: httpx.AsyncClient
) -> None:
    async with portal(service) as line:
        frames = await line.turn("some question", conversation_id="filtered")
    task_id = frames[-1]["data"]["task_id"]
    whole = (await client.get(feed.path("filtered"))).json()["events"]
    parameters = {"types": "message.received,message.answered"}
    answer = (await client.get(feed.path("filtered"), params=parameters)).json()
    assert [event["type"] for event in answer["events"]] == ["message.received", "message.answered"]
    assert answer["cursor"].endswith(f":{len(whole)}")
    answer = (await client.get(feed.path("filtered"), params={"task_id": task_id})).json()
    assert answer["events"] == [event for event in whole if event.get("task_id") == task_id]
    async with portal(service, "/api/v1/conversations/filtered/feed?types=nothing.of.the.kind") as line:
        await line.receive()
        heartbeat = await line.receive()
    assert (heartbeat["type"], heartbeat["cursor"].rpartition(":")[2]) == ("heartbeat", str(len(whole)))


async def test_appends_going_on_and_sockets_dropped_leave_no_gap_and_no_double(
    service: Service, client: httpx.AsyncClient, log: Log
) -> None:
    """Three transports, each dropped again and again and resumed behind the last offset seen."""
    stream, total = streams.conversation("local", "dropped"), 400
    await log.append(stream, [message("first")])

    async def write() -> None:
        for number in range(1, total):
            await log.append(stream, [message(str(number))])

    async def read(name: str, lengths: Iterator[int]) -> list[int]:
        seen: list[int] = []
        while not seen or seen[-1] < total:
            after = seen[-1] if seen else 0
            reader = {
                "websocket": lambda: feed.websocket(service, "dropped", after, batch=3),  # noqa: B023
                "sse": lambda: feed.sse(client, "dropped", after),  # noqa: B023
                "long-poll": lambda: feed.long_poll(client, "dropped", after),  # noqa: B023
            }[name]()
            found = await take(reader, min(total, after + next(lengths)))
            seen += [event["offset"] for event in found]
        return seen

    def lengths(seed: int) -> Iterator[int]:
        while True:
            seed = (seed * 1103515245 + 12345) % 2**31
            yield 1 + seed % 23

    writing = asyncio.create_task(write())
    names = ("websocket", "sse", "long-poll")
    found = await asyncio.gather(*(read(name, lengths(number)) for number, name in enumerate(names, start=1)))
    await writing
    for name, offsets in zip(names, found, strict=True):
        assert offsets == list(range(1, total + 1)), name


async def test_an_answer_in_progress_is_seen_by_another_reader(service: Service, tmp_path: Path) -> None:
    """Deltas name the event that will close them; whoever comes later gets all of it so far, marked `reset`."""
    gate = tmp_path / "gate"
    rule = {"text": "It was a dark and stormy night.", "wait_for_file": str(gate), "hold_after_chunks": 4}
    with running_service(tmp_path, service.dsn, model=script(tmp_path, [{"answer": rule}])) as other:  # type: ignore[arg-type]
        async with portal(other) as line:
            await line.send(type="chat", message="tell a story", conversation_id="story")
            await line.until(lambda frame: frame["type"] == "step")
            async with portal(service, "/api/v1/conversations/story/feed") as watcher:  # on the other node
                frames = await watcher.until(lambda frame: frame["type"] == "delta")
                assert frames[-1]["reset"] is True
                text, answer_id = frames[-1]["text"], frames[-1]["answer_id"]
                gate.touch()
                while not any(event["id"] == answer_id for event in frames[-1].get("events", ())):
                    frame = await watcher.receive()
                    frames.append(frame)
                    if frame["type"] == "delta":
                        text = frame["text"] if frame["reset"] else text + frame["text"]
                assert "It was a dark and stormy night.".startswith(text)
                closing = next(event for event in frames[-1]["events"] if event["id"] == answer_id)
                assert closing["payload"]["answer"]["text"] == "It was a dark and stormy night."
                assert decoded(json.dumps(closing))["type"] == "model.answered"
