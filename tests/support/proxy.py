"""A proxy between the log and Postgres that breaks connections at a chosen moment."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit, urlunsplit

APPEND_MARK = b"message.received"


class Link:
    """One connection through the proxy."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.client = client
        self.server = server
        self.cut = asyncio.Event()
        self.server_gone = asyncio.Event()

    def cut_client(self) -> None:
        self.cut.set()
        self.client.transport.abort()

    async def send(self, data: bytes) -> None:
        """To the server, also after the client has gone."""
        with suppress(OSError):
            self.server.write(data)
            await self.server.drain()


class Proxy:
    """Passes on what it gets, but for appends.

    `on_append` sees each append before the server does and says whether to pass it on. `lose_answer`: the server
    answers the next append, so it is committed, and the connection is cut before the client gets the answer.
    """

    def __init__(self, dsn: str, address: str) -> None:
        self._dsn = dsn
        self.dsn = address
        self.lose_answer = False
        self.on_append: Callable[[Link, bytes], Awaitable[bool]] | None = None
        self.lost = asyncio.Event()
        self._losing: Link | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await _connect(self._dsn)
        link = Link(writer, server_writer)
        await asyncio.gather(self._up(link, reader), self._down(link, server_reader), return_exceptions=True)
        writer.close()
        server_writer.close()

    async def _up(self, link: Link, reader: asyncio.StreamReader) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 20):
                if APPEND_MARK in data:
                    if self.lose_answer:
                        self.lose_answer, self._losing = False, link
                    if self.on_append is not None and not await self.on_append(link, data):
                        continue
                link.server.write(data)
                await link.server.drain()
        if not link.cut.is_set():
            link.server.close()

    async def _down(self, link: Link, reader: asyncio.StreamReader) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 20):
                if self._losing is link:
                    link.cut_client()
                    link.server.close()
                    self.lost.set()
                    break
                if not link.cut.is_set():
                    link.client.write(data)
                    await link.client.drain()
        link.server_gone.set()
        link.client.close()


async def _connect(dsn: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    parts = urlsplit(dsn)
    query = parse_qs(parts.query)
    host = query["host"][0] if "host" in query else parts.hostname or "127.0.0.1"
    port = int(query["port"][0]) if "port" in query else parts.port or 5432
    if host.startswith("/"):
        return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
    return await asyncio.open_connection(host, port)


@asynccontextmanager
async def proxy_to(dsn: str, folder: Path) -> AsyncGenerator[Proxy]:
    """`folder` has to have a short path: a socket lies in it."""
    parts = urlsplit(dsn)
    credentials = parts.netloc.rpartition("@")[0]
    address = urlunsplit(parts._replace(netloc=f"{credentials}@", query=f"host={folder}&port=5432"))
    proxy = Proxy(dsn, address)
    server = await asyncio.start_unix_server(proxy.serve, path=folder / ".s.PGSQL.5432")
    try:
        yield proxy
    finally:
        server.close()
