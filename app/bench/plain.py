"""The baseline for sockets: Litestar and uvicorn with the service's settings, and nothing of ours in between.

`/watch` sockets get every frame that a `/send` socket of their group sends, as it is, from memory. `/send?commit=true`
writes one raw row to `events` first (one transaction). Every sent frame is answered with the seconds of its commit.
`/echo` echoes.
"""

import os
import socket as sockets
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any

import click
from litestar import Litestar, WebSocket, websocket
from litestar.exceptions import WebSocketDisconnect

from app.bench.raw import RawWriter
from app.bench.sample import Sampler
from app.log.connections import connect
from app.server import MinutebookServer, server_config
from app.settings import Settings, load

Socket = WebSocket[Any, Any, Any]


@websocket("/watch")
async def watch(socket: Socket, group: str) -> None:
    """Takes what the senders send until its client goes."""
    await socket.accept()
    watchers: dict[Socket, None] = socket.app.state.groups[group]
    watchers[socket] = None
    await socket.send_text("resumed")
    try:
        while True:
            await socket.receive_text()
    except WebSocketDisconnect:
        return
    finally:
        del watchers[socket]


@websocket("/send")
async def send(socket: Socket, group: str, commit: bool = False) -> None:
    """Hands every text frame to all watchers."""
    await socket.accept()
    watchers: dict[Socket, None] = socket.app.state.groups[group]
    writer: RawWriter = socket.app.state.writer
    try:
        while True:
            frame = await socket.receive_text()
            started = perf_counter()
            if commit:
                await writer.one_in_transaction(writer.row())
            seconds = perf_counter() - started
            for watcher in tuple(watchers):
                await watcher.send_text(frame)
            await socket.send_text(f"{seconds:.9f}")
    except WebSocketDisconnect:
        return


@websocket("/echo")
async def echo(socket: Socket) -> None:
    await socket.accept()
    try:
        while True:
            await socket.send_text(await socket.receive_text())
    except WebSocketDisconnect:
        return


def build(dsn: str) -> Litestar:
    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncGenerator[None]:
        connection = await connect(dsn, name="minutebook-bench-plain")
        app.state.groups = defaultdict[str, dict[Socket, None]](dict)
        app.state.writer = RawWriter(connection, [Sampler().message()])
        try:
            yield
        finally:
            await connection.close()

    return Litestar([watch, send, echo], lifespan=[lifespan])


def serve(app: Litestar, settings: Settings) -> None:
    """Like `minutebook run`: prints where it serves, until SIGTERM."""
    listener = sockets.create_server((settings.host, 0))
    port = listener.getsockname()[1]

    def announce() -> None:
        click.echo(f"http://{settings.host}:{port}")

    MinutebookServer(server_config(settings, app), app, announce).run(sockets=[listener])


def main() -> None:
    settings = load(os.environ, file=None)
    serve(build(settings.database_url), settings)


if __name__ == "__main__":
    main()
