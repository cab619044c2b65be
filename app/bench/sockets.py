"""A WebSocket client that costs next to nothing, so that 1 000 of them measure the server and not themselves.

Speaks what a server without extensions sends (RFC 6455): whole unmasked frames, pings, close. Loopback only.
"""

import asyncio
import base64
import os
from collections.abc import Callable
from time import perf_counter
from typing import Self, cast

OPEN_SECONDS_MAX = 30.0
_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10
_FINAL, _MASKED = 0x80, 0x80


class SocketError(Exception):
    """The server refused the socket, closed it, or sent what this client does not speak."""


class Client(asyncio.Protocol):
    """`on_text` is called with each text frame and the time (`perf_counter`) at which its last byte was here."""

    def __init__(self, on_text: Callable[[bytes, float], None]) -> None:
        self._on_text = on_text
        self._received = bytearray()
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._upgraded = False
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def open(cls, host: str, port: int, path: str, on_text: Callable[[bytes, float], None]) -> Self:
        """Returns after the handshake. Raises `SocketError`, `OSError`, `TimeoutError` (30 s)."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(OPEN_SECONDS_MAX):
            transport, client = await loop.create_connection(lambda: cls(on_text), host, port)
            key = base64.b64encode(os.urandom(16)).decode()
            transport.write(
                f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
            )
            await client.opened
        return client

    def send(self, text: bytes) -> None:
        """One text frame. Clients have to mask; a mask of zeros is one too."""
        self._send(_TEXT, text)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(SocketError("the server closed the connection during the handshake"))

    def data_received(self, data: bytes) -> None:
        at = perf_counter()
        self._received += data
        if not self._upgraded and not self._read_handshake():
            return
        while (frame := self._next_frame()) is not None:
            opcode, payload = frame
            if opcode == _TEXT:
                self._on_text(payload, at)
            elif opcode == _PING:
                self._send(_PONG, payload)
            elif opcode == _CLOSE:
                self.close()

    def _read_handshake(self) -> bool:
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = bytes(self._received[:end])
        del self._received[: end + 4]
        self._upgraded = True
        if not self.opened.done():
            if head.startswith(b"HTTP/1.1 101"):
                self.opened.set_result(None)
            else:
                self.opened.set_exception(SocketError(head.decode(errors="replace")[:200]))
        return True

    def _next_frame(self) -> tuple[int, bytes] | None:
        received = self._received
        if len(received) < 2:
            return None
        opcode, size_bytes, start = received[0] & 0x0F, received[1], 2
        if size_bytes >= 126:
            width = 2 if size_bytes == 126 else 8
            start += width
            if len(received) < start:
                return None
            size_bytes = int.from_bytes(received[2:start])
        if len(received) < start + size_bytes:
            return None
        if not received[0] & _FINAL:
            raise SocketError("the server sent a frame in parts")
        payload = bytes(received[start : start + size_bytes])
        del received[: start + size_bytes]
        return opcode, payload

    def _send(self, opcode: int, payload: bytes) -> None:
        size_bytes = len(payload)
        if size_bytes < 126:
            head = bytes((_FINAL | opcode, _MASKED | size_bytes))
        else:
            head = bytes((_FINAL | opcode, _MASKED | 127)) + size_bytes.to_bytes(8)
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(head + bytes(4) + payload)
