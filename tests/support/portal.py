"""A portal client as existing ones are written: frames in, frames out. Every frame is held against the AsyncAPI
document."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from tests.support.asyncapi import demand_conforming
from tests.support.service import Service, decoded

FRAME_SECONDS_MAX = 30

Frame = dict[str, Any]


class Portal:
    """One socket. `frames` keeps everything received."""

    def __init__(self, connection: ClientConnection, frame_seconds: float, path: str) -> None:
        self.path = path
        self.connection = connection
        self.frame_seconds = frame_seconds
        self.frames: list[Frame] = []

    async def send(self, **frame: Any) -> None:
        await self.connection.send(json.dumps(frame))

    async def receive(self) -> Frame:
        async with asyncio.timeout(self.frame_seconds):
            frame = decoded(await self.connection.recv())
        demand_conforming(self.path, frame)
        self.frames.append(frame)
        return frame

    async def until(self, wanted: Callable[[Frame], bool]) -> list[Frame]:
        """The frames up to and with the first that is wanted."""
        found: list[Frame] = []
        while not found or not wanted(found[-1]):
            found.append(await self.receive())
        return found

    async def turn(self, message: str, **more: Any) -> list[Frame]:
        """Send a message and take everything up to its result or error."""
        await self.send(type="chat", message=message, **more)
        return await self.until(lambda frame: frame["type"] in ("result", "error"))


@asynccontextmanager
async def portal(
    service: Service,
    path: str = "/api/v1/portal/ws",
    *,
    frame_seconds: float = FRAME_SECONDS_MAX,
    **options: Any,
) -> AsyncIterator[Portal]:
    async with connect(service.socket_url + path, **options) as connection:
        yield Portal(connection, frame_seconds, path)


def steps(frames: list[Frame], name: str) -> list[Frame]:
    """The `data` of the steps of that name."""
    return [
        frame["data"]
        for frame in frames
        if frame["type"] == "step" and frame["data"]["event_type"] == f"turn.{name}"
    ]


def is_token(frame: Frame) -> bool:
    return frame["type"] == "step" and frame["data"]["event_type"] == "turn.token"
