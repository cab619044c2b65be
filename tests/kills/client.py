"""The person at the other end: sends, watches, answers, and tries again when the service is gone.

What the service has acknowledged is remembered; later it has to be in the log.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol

import httpx
import msgspec

from app.core.streams import conversation
from tests.kills.tools import Effects

OWNER = "local"
PATIENCE_SECONDS = 60.0
RETRY_SECONDS = 0.02
FEED_SECONDS = 20
LAST_EVENTS = frozenset({"final_answer", "error", "steered"})


class Server(Protocol):
    """Where the client goes: `connected` waits for a service that runs."""

    effects: Effects

    async def connected(self) -> httpx.AsyncClient: ...


class Seen(msgspec.Struct, frozen=True):
    """An event that reached the client: at this offset of its conversation."""

    offset: int
    name: str
    data: dict[str, Any]


class FeedEvent(msgspec.Struct, frozen=True):
    """An event as the feed shows it."""

    type: str
    task_id: str
    payload: dict[str, Any]


class Page(msgspec.Struct, frozen=True):
    """What the feed has behind a cursor, and the next cursor."""

    cursor: str
    events: list[FeedEvent]


class Client:
    """One conversation of one person. `acknowledged`: messages of which the service said that it has them; their ids
    begin with `name`."""

    def __init__(self, server: Server, conversation_id: str, *, name: str = "client") -> None:
        self._server = server
        self._name = name
        self._said = ""
        self._changed = asyncio.Event()
        self.conversation_id = conversation_id
        self.stream = conversation(OWNER, conversation_id)
        self.acknowledged: set[str] = set()
        self.seen: list[Seen] = []
        self._messages = 0
        self._turns: list[asyncio.Task[None]] = []

    def begin(self, message: str) -> Awaitable[None]:
        """Sends the message; done when its turn has come to its end, whatever happens in between."""
        self._messages += 1
        turn = self._turn(message, f"{self._name}-{self._messages}")
        self._turns.append(task := asyncio.create_task(turn))
        return task

    async def say(self, message: str) -> None:
        await self.begin(message)

    async def turns(self) -> None:
        """Waits for all that was begun."""
        await asyncio.gather(*self._turns)

    async def close(self) -> None:
        for turn in self._turns:
            turn.cancel()
        await asyncio.gather(*self._turns, return_exceptions=True)

    async def sees(self, kind: str, *, number: int = 1) -> FeedEvent:
        """The conversation's `number`-th event of that type, as soon as it is in the feed."""
        found: list[FeedEvent] = []
        after = 0

        async def attempt(client: httpx.AsyncClient) -> bool:
            nonlocal after
            query = {"after": str(after), "types": kind, "wait": str(FEED_SECONDS)}
            response = await client.get(f"/conversations/{self.conversation_id}/events", params=query)
            if response.status_code != 200:
                return retried(response)
            page = msgspec.json.decode(response.content, type=Page)
            after = int(page.cursor.rpartition(":")[2])
            found.extend(page.events)
            return len(found) >= number

        await self._insist(attempt)
        return found[number - 1]

    async def shown(self, text: str) -> None:
        """Until this is what there is of an answer that is being written."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while self._said != text:
                self._changed.clear()
                await self._changed.wait()

    def open_gate(self) -> None:
        self._server.effects.open_gate(self.conversation_id)

    async def reply(self, asked: FeedEvent, content: str) -> None:
        body = {"request_id": asked.payload["request_id"], "content": content}
        await self._tell(asked.task_id, "reply", body)

    async def confirm(self, asked: FeedEvent, *, approved: bool) -> None:
        body = {"confirmation_id": asked.payload["confirmation_id"], "approved": approved}
        await self._tell(asked.task_id, "confirm", body)

    async def cancel(self, of: FeedEvent) -> None:
        await self._tell(of.task_id, "cancel", {})

    async def _tell(self, task_id: str, what: str, body: dict[str, Any]) -> None:
        """Tells it again until the service has it. A conflict says that it was taken before."""

        async def attempt(client: httpx.AsyncClient) -> bool:
            response = await client.post(f"/tasks/{task_id}/{what}", json=body)
            return response.status_code in (200, 409) or retried(response)

        await self._insist(attempt)

    async def _turn(self, message: str, client_message_id: str) -> None:
        body = {
            "message": message,
            "conversation_id": self.conversation_id,
            "client_message_id": client_message_id,
        }

        async def attempt(client: httpx.AsyncClient) -> bool:
            async with client.stream("POST", "/portal/chat/stream", json=body) as response:
                if response.status_code != 200:
                    await response.aread()
                    return retried(response)
                ended = False
                async for seen in events(response):
                    if seen.name == "routing":
                        self.acknowledged.add(client_message_id)
                    if seen.offset:
                        self.seen.append(seen)
                    elif seen.name == "token":
                        self._hear(seen.data["data"])
                    ended = seen.name in LAST_EVENTS
            return ended

        await self._insist(attempt)

    def _hear(self, token: dict[str, Any]) -> None:
        self._said = token["content"] if token.get("reset") else self._said + token["content"]
        self._changed.set()

    async def _insist(self, attempt: Callable[[httpx.AsyncClient], Awaitable[bool]]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                client = await self._server.connected()
                try:
                    if await attempt(client):
                        return
                except httpx.TransportError:
                    pass
                await asyncio.sleep(RETRY_SECONDS)


def retried(response: httpx.Response) -> bool:
    """False: the service was just not there. Raises for what should not be answered."""
    if response.status_code not in (404, 503):  # a view that is late knows no task yet
        raise AssertionError(f"{response.request.url}: {response.status_code} {response.text}")
    return False


async def events(response: httpx.Response) -> AsyncIterator[Seen]:
    """Server-sent events, as they come."""
    fields: dict[str, str] = {}
    async for line in response.aiter_lines():
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif fields.get("event"):
            yield Seen(
                int(fields.get("id", "0")), fields["event"], msgspec.json.decode(fields.get("data", "{}"))
            )
            fields = {}
        else:
            fields = {}
