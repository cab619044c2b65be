"""What every socket has in common: who it is, frames in and out, heartbeat, limits, and how it ends.

a key in the URL or a header ─► known, or an error frame and 4001
none ─► its first frame has to be `auth` within 10 s ─► known, or an error frame and 4001

known ─► admitted, the oldest of more than 16 of a user closed with 1008
      ─► its key ends: 4001    more frames than allowed: 1008    the server stops: 1012, at a moment of its own
"""

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from litestar import WebSocket
from litestar.exceptions import WebSocketDisconnect, WebSocketException
from msgspec import Meta

from app.api.frame_rate import FrameRate
from app.api.queries import AS_OF, SHOWN_CHARS_MAX
from app.auth.identities import Identities, Presented
from app.auth.principal import Principal
from app.core.texts import Locale, text
from app.log.errors import LogUnavailable
from app.telemetry.logs import note_request

if TYPE_CHECKING:
    from app.api.services import Services

SOCKETS_PER_USER_MAX = 16
FRAME_BYTES_MAX = 1024 * 1024
AUTH_CHARS_MAX = 8 * 1024
AUTH_WAITING_MAX = 256
CLOSES_PER_SECOND = 100
CLOSE_NORMAL = 1000
CLOSE_POLICY = 1008
CLOSE_INTERNAL = 1011
CLOSE_TRY_AGAIN = 1012
CLOSE_BUSY = 1013
CLOSE_UNAUTHORIZED = 4001
CLOSE_NOT_FOUND = 4004

Socket = WebSocket[Any, Any, Any]
_encoder = msgspec.json.Encoder()


class FrameError(ValueError):
    """A frame that cannot be used; the text is for the client."""


class Auth(msgspec.Struct, frozen=True, tag="auth"):
    """The first frame of a socket that came without a key: an API key or a JSON Web Token."""

    api_key: Annotated[str, Meta(max_length=AUTH_CHARS_MAX)] | None = None
    token: Annotated[str, Meta(max_length=AUTH_CHARS_MAX)] | None = None


class Line:
    """One open socket: frames go out one at a time and never after its end.

    `surface` names what it is for, in figures; `frames_in` and `frames_out` count. `gone` is set when it is over.
    """

    def __init__(
        self,
        socket: Socket,
        principal: Principal,
        locale: Locale,
        *,
        surface: str = "",
        frames_per_second: float = 0,
    ) -> None:
        self.socket = socket
        self.principal = principal
        self.locale: Locale = locale
        self.surface = surface
        self.gone = asyncio.Event()
        self.frames_in = 0
        self.frames_out = 0
        self.known_by: Identities | None = None
        self._sending = asyncio.Lock()
        self._clock = asyncio.get_running_loop().time
        self._frames_per_second = frames_per_second
        self._rate = FrameRate(frames_per_second, self._clock())

    @property
    def closed(self) -> bool:
        return self.gone.is_set()

    async def send(self, frame: object) -> None:
        """A frame as JSON text. A client that has gone away is no error."""
        await self.send_raw(_encoder.encode(frame))

    async def send_raw(self, frame: bytes) -> None:
        """A frame that is JSON already. Waits while the client takes nothing more."""
        await self._sending.acquire()
        try:
            if self.gone.is_set():
                return
            await self.socket.send_data(frame.decode(), mode="text")
            self.frames_out += 1
        except (WebSocketException, RuntimeError, OSError):
            self.gone.set()
        finally:
            self._sending.release()

    async def error(self, message: str, **more: object) -> None:
        """`{type:"error", data:{message, …}}`, one human sentence."""
        await self.send({"type": "error", "data": {"message": message, **more}})

    async def close(self, code: int, reason: str = "") -> None:
        """A reason has at most 123 bytes (RFC 6455, 5.5.1), so it is cut."""
        if self.gone.is_set():
            return
        self.gone.set()
        with suppress(WebSocketException, RuntimeError, OSError):
            await self.socket.close(code=code, reason=reason.encode()[:120].decode(errors="ignore"))

    async def refuse(self, code: int, message: str) -> None:
        """One sentence, then the end."""
        await self.error(message)
        await self.close(code, message)

    async def receive(self, heartbeat_seconds: float) -> str | None:
        """The next frame; None when the client has gone or was silent for too long (then it was closed with 1000).

        Raises `FrameError` for a frame over 1 MiB, and for one beyond the rate; whoever goes on is closed with 1008.
        """
        try:
            async with asyncio.timeout(heartbeat_seconds or None):
                frame = await self.socket.receive_data(mode="text")
        except TimeoutError:
            await self.close(CLOSE_NORMAL, text("heartbeat", self.locale, seconds=f"{heartbeat_seconds:g}"))
            return None
        except (WebSocketDisconnect, WebSocketException, RuntimeError):
            self.gone.set()
            return None
        self.frames_in += 1
        if not self._rate.take(self._clock()):
            message = text("too_many_frames", self.locale, limit=f"{self._frames_per_second:g}")
            if not self._rate.goes_on:
                raise FrameError(message)
            await self.refuse(CLOSE_POLICY, message)
            return None
        if len(frame) > FRAME_BYTES_MAX or len(frame.encode("utf-8", "replace")) > FRAME_BYTES_MAX:
            raise FrameError(text("frame_too_large", self.locale, limit=FRAME_BYTES_MAX))
        return frame


class SocketRegistry:
    """The open sockets of this process by user: one too many closes the oldest with 1008.

    Each process counts its own: the limit guards its memory against clients that forget to close, and to count over all
    nodes would cost a write to the database at every connect, and make sockets depend on it.
    """

    def __init__(self, *, per_user_max: int = SOCKETS_PER_USER_MAX) -> None:
        self._per_user_max = per_user_max
        self._lines: dict[str, dict[Line, None]] = defaultdict(dict)
        self._frames: dict[str, tuple[int, int]] = {}
        self._unknown = 0
        self._draining = False
        self._emptied = asyncio.Event()

    @asynccontextmanager
    async def admit(self, line: Line) -> AsyncGenerator[None]:
        """Meanwhile the socket counts as open. It is closed with 4001 as soon as its key is no longer valid."""
        lines = self._lines[line.principal.user_id]
        lines[line] = None
        watching = asyncio.create_task(_end_with_key(line))
        try:
            if self._draining:
                await line.close(CLOSE_TRY_AGAIN, text("restart", line.locale))
            while len(lines) > self._per_user_max:
                oldest = next(iter(lines))
                del lines[oldest]
                self._count(oldest)
                await oldest.close(
                    CLOSE_POLICY, text("too_many_sockets", oldest.locale, limit=self._per_user_max)
                )
            yield
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            if line in lines:
                del lines[line]
                self._count(line)
            if not lines and self._lines.get(line.principal.user_id) is lines:
                del self._lines[line.principal.user_id]
            if not self._lines:
                self._emptied.set()

    @asynccontextmanager
    async def unknown(self) -> AsyncGenerator[bool]:
        """While a socket has not said who it is. False: 256 wait already."""
        self._unknown += 1
        try:
            yield self._unknown <= AUTH_WAITING_MAX
        finally:
            self._unknown -= 1

    async def drain(self, seconds: float) -> None:
        """Close every socket with 1012, each at a moment of its own, about 100 a second but within half of the time, so
        that their clients do not all come back at once. Returns when all are gone, at the latest after `seconds`."""
        self._draining = True
        lines = self.lines()
        spread_seconds = min(seconds / 2, len(lines) / CLOSES_PER_SECOND)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await asyncio.gather(*(_close_within(line, spread_seconds) for line in lines))
                while self._lines:
                    self._emptied.clear()
                    await self._emptied.wait()

    def lines(self) -> list[Line]:
        """Those that are open now."""
        return [line for lines in self._lines.values() for line in lines]

    def open_by_surface(self) -> Counter[str]:
        """How many are open now."""
        return Counter(line.surface for line in self.lines())

    def frames_by_surface(self) -> dict[str, tuple[int, int]]:
        """Frames in and out since the process began."""
        counted = dict(self._frames)
        for line in self.lines():
            frames_in, frames_out = counted.get(line.surface, (0, 0))
            counted[line.surface] = frames_in + line.frames_in, frames_out + line.frames_out
        return counted

    def _count(self, line: Line) -> None:
        frames_in, frames_out = self._frames.get(line.surface, (0, 0))
        self._frames[line.surface] = frames_in + line.frames_in, frames_out + line.frames_out


async def open_line(socket: Socket, services: "Services", surface: str) -> Line | None:
    """Accept a socket. A wrong key, or none in the first frame either, gets an error frame and 4001, and None is
    returned; likewise an `as_of`, which no socket takes, and 1008. `surface` names what the socket is for."""
    await socket.accept()
    locale, identities = services.options.locale, services.identities
    line = Line(
        socket,
        Principal("", "member"),
        locale,
        surface=surface,
        frames_per_second=services.options.frames_per_second,
    )
    shown = presented(socket)
    if shown == Presented() and not identities.development:
        found = await _first_frame(line, services)
        if found is None:
            return None
        shown, wrong = found, "unauthorized_frame"
    else:
        wrong = "unauthorized"
    try:
        principal = await identities.identify(shown)
    except LogUnavailable:  # whether a key was revoked is in the log
        await line.refuse(CLOSE_TRY_AGAIN, text("log_unavailable", locale))
        return None
    if principal is None:
        await line.refuse(CLOSE_UNAUTHORIZED, text(wrong, locale))
        return None
    line.principal, line.known_by = principal, identities
    note_request(user_id=principal.user_id, route=socket.scope["path_template"])
    if (as_of := socket.query_params.get(AS_OF)) is not None:
        await line.refuse(CLOSE_POLICY, text("no_as_of", locale, given=as_of[:SHOWN_CHARS_MAX]))
        return None
    return line


async def _first_frame(line: Line, services: "Services") -> Presented | None:
    """What the client shows in its first frame; None if that is something else, or does not come: then it is closed."""
    seconds, locale = services.options.auth_seconds, line.locale
    async with services.sockets.unknown() as may_wait:
        if not may_wait:
            await line.refuse(CLOSE_BUSY, text("too_many_waiting", locale))
            return None
        try:
            async with asyncio.timeout(seconds):
                received = await line.socket.receive_data(mode="text")
        except TimeoutError:
            message = text("unauthorized_silence", locale, seconds=f"{seconds:g}")
            await line.refuse(CLOSE_UNAUTHORIZED, message)
            return None
        except (WebSocketDisconnect, WebSocketException, RuntimeError):
            line.gone.set()
            return None
    line.frames_in += 1
    try:
        auth = msgspec.json.decode(received[: AUTH_CHARS_MAX * 2], type=Auth)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        await line.refuse(CLOSE_UNAUTHORIZED, text("unauthorized_frame", locale))
        return None
    return Presented(auth.api_key, auth.token)


async def _end_with_key(line: Line) -> None:
    """Close the line when its principal is no longer valid: the key was revoked or has expired, the user disabled.
    Where only its rights have changed, they are the line's from there on."""
    if line.known_by is None:
        return
    while (principal := await line.known_by.watch(line.principal)) is not None:
        line.principal = principal
    await line.refuse(CLOSE_UNAUTHORIZED, text("key_ended", line.locale))


async def _close_within(line: Line, seconds: float) -> None:
    await asyncio.sleep(random.uniform(0, seconds))
    await line.close(CLOSE_TRY_AGAIN, text("restart", line.locale))


def presented(connection: Any) -> Presented:
    """The credential of a request or socket: header `X-API-Key`, else `api_key=`; `Authorization: Bearer`, else
    `token=`."""
    headers, query = connection.headers, connection.query_params
    scheme, _, token = headers.get("authorization", "").partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" else ""
    return Presented(
        headers.get("x-api-key") or query.get("api_key") or None, bearer or query.get("token") or None
    )
