"""What every socket has in common: who it is, frames in and out, heartbeat, and so many a user."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec
from litestar import WebSocket
from litestar.exceptions import WebSocketDisconnect, WebSocketException

from app.auth.identities import Identities, Presented
from app.auth.principal import Principal
from app.core.texts import Locale, text

SOCKETS_PER_USER_MAX = 16
FRAME_BYTES_MAX = 1024 * 1024
CLOSE_NORMAL = 1000
CLOSE_POLICY = 1008
CLOSE_INTERNAL = 1011
CLOSE_TRY_AGAIN = 1012
CLOSE_UNAUTHORIZED = 4001

Socket = WebSocket[Any, Any, Any]
_encoder = msgspec.json.Encoder()


class FrameError(ValueError):
    """A frame that cannot be used; the text is for the client."""


class Line:
    """One open socket: frames go out one at a time and never after its end."""

    def __init__(self, socket: Socket, principal: Principal, locale: Locale) -> None:
        self.socket = socket
        self.principal = principal
        self.locale: Locale = locale
        self.closed = False
        self._sending = asyncio.Lock()

    async def send(self, frame: object) -> None:
        """A frame as JSON text. A client that has gone away is no error."""
        await self.send_raw(_encoder.encode(frame))

    async def send_raw(self, frame: bytes) -> None:
        """A frame that is JSON already. Waits while the client takes nothing more."""
        async with self._sending:
            if self.closed:
                return
            try:
                await self.socket.send_data(frame.decode(), mode="text")
            except (WebSocketException, RuntimeError, OSError):
                self.closed = True

    async def error(self, message: str, **more: object) -> None:
        """`{type:"error", data:{message, …}}`, one human sentence."""
        await self.send({"type": "error", "data": {"message": message, **more}})

    async def close(self, code: int, reason: str = "") -> None:
        """A reason has at most 123 bytes (RFC 6455, 5.5.1), so it is cut."""
        if self.closed:
            return
        self.closed = True
        with suppress(WebSocketException, RuntimeError, OSError):
            await self.socket.close(code=code, reason=reason.encode()[:120].decode(errors="ignore"))

    async def receive(self, heartbeat_seconds: float) -> str | None:
        """The next frame; None when the client has gone or was silent for too long (then it was closed with 1000).

        Raises `FrameError` for a frame over 1 MiB.
        """
        try:
            async with asyncio.timeout(heartbeat_seconds or None):
                received = await self.socket.receive_data(mode="text")
        except TimeoutError:
            await self.close(CLOSE_NORMAL, text("heartbeat", self.locale, seconds=f"{heartbeat_seconds:g}"))
            return None
        except (WebSocketDisconnect, WebSocketException, RuntimeError):
            self.closed = True
            return None
        frame = received
        if len(frame) > FRAME_BYTES_MAX or len(frame.encode("utf-8", "replace")) > FRAME_BYTES_MAX:
            raise FrameError(text("frame_too_large", self.locale, limit=FRAME_BYTES_MAX))
        return frame


class SocketRegistry:
    """The open sockets by user: one too many closes the oldest with 1008."""

    def __init__(self, *, per_user_max: int = SOCKETS_PER_USER_MAX) -> None:
        self._per_user_max = per_user_max
        self._lines: dict[str, dict[Line, None]] = defaultdict(dict)

    @asynccontextmanager
    async def admit(self, line: Line) -> AsyncGenerator[None]:
        lines = self._lines[line.principal.user_id]
        lines[line] = None
        try:
            while len(lines) > self._per_user_max:
                oldest = next(iter(lines))
                del lines[oldest]
                await oldest.close(
                    CLOSE_POLICY, text("too_many_sockets", oldest.locale, limit=self._per_user_max)
                )
            yield
        finally:
            lines.pop(line, None)
            if not lines:
                self._lines.pop(line.principal.user_id, None)


async def open_line(socket: Socket, identities: Identities, locale: Locale) -> Line | None:
    """Accept a socket. A wrong or missing key gets an error frame and 4001, and None is returned."""
    await socket.accept()
    principal = await identities.identify(presented(socket))
    line = Line(socket, principal or Principal("", "member"), locale)
    if principal is None:
        message = text("unauthorized", locale)
        await line.error(message)
        await line.close(CLOSE_UNAUTHORIZED, message)
        return None
    return line


def presented(connection: Any) -> Presented:
    """The credential of a request or socket: header `X-API-Key`, else `api_key=`; `Authorization: Bearer`, else
    `token=`."""
    headers, query = connection.headers, connection.query_params
    scheme, _, token = headers.get("authorization", "").partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" else ""
    return Presented(
        headers.get("x-api-key") or query.get("api_key") or None, bearer or query.get("token") or None
    )
