"""Around every request and socket: its id, one line in the log, its figures, and whether it may come in at all.

A browser sends what a foreign page asks it to. So sockets are refused to pages of other origins; and in development
mode, where nobody needs a key, so are calls that change something, and every name that is not this machine's (a foreign
name may be made to lead here: DNS rebinding).
"""

import re
import time
from collections.abc import Callable, Collection
from contextlib import nullcontext
from typing import Any
from urllib.parse import urlsplit

import msgspec
import structlog
from litestar import Litestar
from litestar.routes import HTTPRoute
from litestar.types import (
    ASGIApp,
    HTTPReceiveMessage,
    HTTPScope,
    Message,
    Receive,
    Scope,
    Send,
    WebSocketReceiveMessage,
    WebSocketScope,
)

from app.api.security import AnyRequest, provide_principal
from app.api.services import Services
from app.auth.principal import Principal
from app.core.texts import Locale, text
from app.log.ids import new_id
from app.telemetry import figures, tracing
from app.telemetry.logs import note_refused_socket, note_request, request_context

READING = frozenset({"GET", "HEAD", "OPTIONS"})
OPERATION = frozenset({"/health", "/ready", "/metrics"})
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
STREAMS = (b"text/event-stream", b"application/x-ndjson")
CLIENT_LEFT = 499
"""In figures and log lines, where a client was gone before its answer began. Nobody is sent it."""
PORTS = {"http": 80, "https": 443}
_SANE_ID = re.compile(rb"[A-Za-z0-9._:-]{1,100}")
_HEADERS_REFUSED = [(b"content-type", b"application/json")]

logger = structlog.get_logger(__name__)
ConnectionScope = HTTPScope | WebSocketScope


class Doorway:
    """The outermost part of the application: an ASGI application around another one."""

    def __init__(
        self,
        app: Litestar,
        *,
        allowed_origins: Collection[str] = (),
        locale: Locale = "en",
    ) -> None:
        self._app = app
        self._inner: ASGIApp = app
        self._allowed = frozenset(origin.lower().rstrip("/") for origin in allowed_origins)
        self._locale: Locale = locale

    def _methods(self, template: str) -> bytes:
        """All that a path takes; the framework's own answer to OPTIONS names those of one handler."""
        known = {
            method
            for route in self._app.routes
            if isinstance(route, HTTPRoute) and (route.path_format or "/") == template
            for method in route.methods
        }
        return ", ".join(sorted(known)).encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._inner(scope, receive, send)
            return
        connection = _Connection(scope, receive, send, self._methods)
        heard = receive if connection.is_socket else connection.receive
        # A socket may stay open for days: no trace of its own, and those of the runs it starts begin with them.
        span = nullcontext() if connection.is_socket else tracing.request_span(connection.headers)
        with request_context(request_id=connection.request_id.decode()), span:
            try:
                refusal = self._refusal(connection)
                if refusal is None:
                    await self._inner(scope, heard, connection.send)
                else:
                    await connection.refuse(*refusal)
            finally:
                connection.note()

    def _refusal(self, connection: "_Connection") -> tuple[int, str] | None:
        """Status and sentence for who may not come in."""
        host, origin = connection.headers.get(b"host", b""), connection.headers.get(b"origin")
        services: Services | None = getattr(self._app.state, "services", None)
        development = services is not None and services.identities.development
        if development and not _is_loopback(host):
            shown = host.decode(errors="replace")[:100]
            return 403, text("foreign_host", self._locale, host=shown)
        guarded = connection.is_socket or (development and connection.method not in READING)
        if guarded and origin is not None and not self._is_known(origin, host):
            shown = origin.decode(errors="replace")[:100]
            return 403, text("foreign_origin", self._locale, origin=shown)
        if services is not None and services.stopping.is_set() and connection.path not in OPERATION:
            return 503, text("restart", self._locale)
        return None

    def _is_known(self, origin: bytes, host: bytes) -> bool:
        """Whether a page of this origin is one of ours. Where TLS ends in front of us the scheme tells nothing."""
        shown = origin.decode(errors="replace").lower()
        if shown in self._allowed:
            return True
        try:
            there = urlsplit(shown)
            here = urlsplit(f"{there.scheme}://{host.decode(errors='replace').lower()}")
            default = PORTS.get(there.scheme)
            return (
                default is not None
                and there.hostname is not None
                and there.hostname == here.hostname
                and (there.port or default) == (here.port or default)
            )
        except ValueError:
            return False


class _Connection:
    """One request or socket: what came, and what was answered."""

    def __init__(
        self, scope: ConnectionScope, receive: Receive, send: Send, methods: Callable[[str], bytes]
    ) -> None:
        self._methods = methods
        self._scope: Any = scope  # one of two kinds of dictionary, which no type checker likes to be asked
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.is_socket = scope["type"] == "websocket"
        self.method = str(self._scope.get("method", "SOCKET"))
        self.path = scope["path"]
        given = self.headers.get(b"x-request-id", b"")
        self.request_id = given if _SANE_ID.fullmatch(given) else str(new_id()).encode()
        self._receive = receive
        self._send = send
        self._began = time.perf_counter()
        self._status = 0
        self._left = False
        self._streamed = False

    async def receive(self) -> HTTPReceiveMessage | WebSocketReceiveMessage:
        """What a request brings."""
        message = await self._receive()
        if message["type"] == "http.disconnect" and not self._status:
            self._left = True
        return message

    async def send(self, message: Message) -> None:
        """Answer, with the id among the headers."""
        if message["type"] == "websocket.send":  # most of all messages, and nothing to be done
            await self._send(message)
            return
        match message["type"]:
            case "http.response.start" | "websocket.http.response.start":
                self._status = message["status"]
                self._streamed = any(value.startswith(STREAMS) for _, value in message["headers"])
                headers = [*message["headers"], (b"x-request-id", self.request_id)]
                if self.method == "OPTIONS" and (template := self._scope.get("path_template")):
                    allowed = (b"allow", self._methods(template))
                    headers = [
                        allowed if name.lower() == b"allow" else (name, value) for name, value in headers
                    ]
                message["headers"] = headers
            case "websocket.accept":
                self._status = 101
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", self.request_id)]
            case "websocket.close" if not self._status:
                self._status = 403
            case _:
                pass
        await self._send(message)

    async def refuse(self, status: int, sentence: str) -> None:
        """A socket is refused before it is accepted, so that a page cannot tell why."""
        body = msgspec.json.encode({"status_code": status, "detail": sentence})
        headers = [*_HEADERS_REFUSED, (b"content-length", str(len(body)).encode())]
        if status == 503:
            headers.append((b"retry-after", b"1"))
        if self.is_socket:
            note_refused_socket()
        kind = "websocket.http.response" if self.is_socket else "http.response"
        if self.is_socket and "websocket.http.response" not in (self._scope.get("extensions") or {}):
            await self.send({"type": "websocket.close", "code": 1008, "reason": ""})
            return
        await self.send({"type": f"{kind}.start", "status": status, "headers": headers})  # pyright: ignore[reportArgumentType]
        await self._send({"type": f"{kind}.body", "body": body, "more_body": False})  # pyright: ignore[reportArgumentType]

    def note(self) -> None:
        """One line and one figure. Never the URL: there may be a key in it, and ids are no labels."""
        seconds = time.perf_counter() - self._began
        route = str(self._scope.get("path_template") or "unknown")
        # Whoever leaves before the answer begins gets none, although the framework has an error for it.
        status = CLIENT_LEFT if self._left else self._status or 500
        streamed = self.is_socket or self._streamed
        figures.request(self.method, route, status, None if streamed else seconds)
        if not self.is_socket:
            tracing.name_request(self.method, route, status)
        quiet = self.path in OPERATION and status < 400
        level = logger.debug if quiet else logger.info
        note_request(route=route)
        level("request", method=self.method, status=status, milliseconds=round(seconds * 1000, 1))


def _is_loopback(host: bytes) -> bool:
    try:
        return (urlsplit(f"//{host.decode()}").hostname or "") in LOOPBACK
    except ValueError:
        return False


async def provide_noted_principal(request: AnyRequest, services: Services) -> Principal:
    """As `provide_principal`; the lines of the request say whose it is."""
    principal = await provide_principal(request, services)
    note_request(user_id=principal.user_id, route=request.scope["path_template"])
    return principal
