"""The feed's four transports, each read from a cursor up to a known end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import httpx
import msgspec
from websockets.asyncio.client import connect

from tests.support.service import Service, decoded

READ_SECONDS_MAX = 30

Event = dict[str, Any]


def path(conversation_id: str) -> str:
    return f"/conversations/{conversation_id}/events"


async def websocket(
    service: Service, conversation_id: str, after: int | str, batch: int = 500
) -> AsyncIterator[Event]:
    """Events as they come; ends only when the caller closes it or the socket drops."""
    url = f"{service.socket_url}/api/v1/conversations/{conversation_id}/feed?after={after}&batch={batch}"
    # No limit on what waits here: with a full queue, closing would wait 10 s for frames that nobody takes.
    async with connect(url, max_size=None, max_queue=None, compression=None) as socket:
        async for frame in socket:
            for event in decoded(frame).get("events", ()):
                yield event


async def sse(client: httpx.AsyncClient, conversation_id: str, after: int | str) -> AsyncIterator[Event]:
    headers = {"Accept": "text/event-stream", "Last-Event-ID": str(after)}
    async with client.stream("GET", path(conversation_id), headers=headers) as response:
        kind = ""
        async for line in response.aiter_lines():
            field, _, value = line.partition(": ")
            if field == "event":
                kind = value
            elif field == "data" and kind != "delta":
                yield msgspec.json.decode(value)


async def ndjson(
    client: httpx.AsyncClient, conversation_id: str, after: int | str, *, follow: bool = False
) -> AsyncIterator[Event]:
    parameters = {"after": str(after), "follow": str(follow).lower()}
    headers = {"Accept": "application/x-ndjson"}
    async with client.stream("GET", path(conversation_id), params=parameters, headers=headers) as response:
        async for line in response.aiter_lines():
            if line and (event := msgspec.json.decode(line)).get("type") != "delta":
                yield event


async def long_poll(
    client: httpx.AsyncClient, conversation_id: str, after: int | str
) -> AsyncIterator[Event]:
    """Follows the cursor of each answer, so it goes on where the one before ended."""
    cursor = str(after)
    while True:
        parameters = {"after": cursor, "wait": "5"}
        answer = (await client.get(path(conversation_id), params=parameters)).json()
        cursor = answer["cursor"]
        for event in answer["events"]:
            yield event


async def take(events: AsyncIterator[Event], until: int) -> list[Event]:
    """Everything up to the event with that offset."""
    found: list[Event] = []
    async with asyncio.timeout(READ_SECONDS_MAX), aclosing(events) as source:  # pyright: ignore[reportArgumentType]
        async for event in source:
            found.append(event)
            if event["offset"] >= until:
                break
    return found
