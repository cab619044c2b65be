"""Errors as clients see them: a status, one sentence, no internals. What was unexpected goes into the server's log."""

import secrets
from typing import Any

import msgspec
import structlog
from litestar import MediaType, Request, Response
from litestar.exceptions import HTTPException, ValidationException

from app.api.feed_wire import InvalidCursor
from app.core.streams import InvalidConversationId
from app.core.texts import Locale, text
from app.log.errors import IdempotencyMismatch, LogOverloaded, LogUnavailable, PayloadTooLarge
from app.runs.meetings import MeetingRefused
from app.runs.refused import (
    AgentUnknown,
    ClientMessageIdInvalid,
    ClientMessageIdReused,
    ConversationBusy,
    MessageEmpty,
    MessageTooLong,
    ModeMissing,
    Refused,
    RequestNotOpen,
    SessionIsClosed,
    SkillUnknown,
    TooManyRuns,
    TooManyTasks,
)
from app.runs.sessions import MetadataTooLong, SessionTaken, SessionUnknown
from projections.runner import ProjectionLag

logger = structlog.get_logger(__name__)
AnyRequest = Request[Any, Any, Any]

STATUS: dict[type[Exception], int] = {
    InvalidCursor: 400,
    InvalidConversationId: 400,
    MessageEmpty: 400,
    MessageTooLong: 413,
    PayloadTooLarge: 413,
    SkillUnknown: 404,
    ModeMissing: 501,
    ClientMessageIdInvalid: 400,
    ClientMessageIdReused: 409,
    TooManyRuns: 503,
    MeetingRefused: 400,
    AgentUnknown: 404,
    ConversationBusy: 409,
    TooManyTasks: 429,
    RequestNotOpen: 409,
    SessionUnknown: 404,
    SessionIsClosed: 400,
    SessionTaken: 409,
    MetadataTooLong: 413,
    IdempotencyMismatch: 409,
    LogOverloaded: 503,
    LogUnavailable: 503,
    ProjectionLag: 503,
}


def sentence(error: Exception, locale: Locale) -> str | None:
    """What to tell people about an expected error; None for an unexpected one."""
    match error:
        case LogUnavailable() | ProjectionLag():
            return text("log_unavailable", locale)
        case LogOverloaded():
            return text("overloaded", locale)
        case Refused():
            return error.sentence(locale)
        case _:
            return str(error) if type(error) in STATUS else None


def internal(error: Exception, locale: Locale, where: str) -> str:
    """Log an unexpected error under a reference, and return the sentence that names only the reference."""
    reference = secrets.token_hex(4)
    logger.error("unexpected_error", reference=reference, where=where, exc_info=error)
    return text("internal", locale, reference=reference)


def handle_expected(request: AnyRequest, error: Exception) -> Response[Any]:
    locale: Locale = request.app.state["locale"]
    status = STATUS[type(error)]
    headers = {"Retry-After": "1"} if status == 503 else {}
    return _response(status, sentence(error, locale) or "", headers)


def handle_http(request: AnyRequest, error: HTTPException) -> Response[Any]:
    """Litestar's own errors; a validation error names each wrong field."""
    detail = error.detail
    if isinstance(error, ValidationException) and error.extra:
        detail = "; ".join(_field(one) for one in error.extra)
    return _response(error.status_code, detail, dict(error.headers or {}))


def handle_unreadable(request: AnyRequest, error: Exception) -> Response[Any]:
    """A body that the JSON decoder gives up on: no UTF-8, or nested too deeply."""
    locale: Locale = request.app.state["locale"]
    return _response(400, text("body_unreadable", locale), {})


def handle_unexpected(request: AnyRequest, error: Exception) -> Response[Any]:
    locale: Locale = request.app.state["locale"]
    return _response(500, internal(error, locale, f"{request.method} {request.url.path}"), {})


def _field(extra: Any) -> str:
    if isinstance(extra, dict):
        return f"{extra.get('key', '')}: {extra.get('message', '')}".strip(": ")  # pyright: ignore[reportUnknownMemberType]
    return str(extra)


def _response(status: int, detail: str, headers: dict[str, str]) -> Response[Any]:
    body = msgspec.json.encode({"status_code": status, "detail": detail})
    return Response(body, status_code=status, media_type=MediaType.JSON, headers=headers)


HANDLERS: dict[int | type[Exception], Any] = {
    **dict.fromkeys(STATUS, handle_expected),
    HTTPException: handle_http,
    RecursionError: handle_unreadable,
    UnicodeDecodeError: handle_unreadable,
    Exception: handle_unexpected,
}
