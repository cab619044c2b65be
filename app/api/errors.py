"""Errors as clients see them: a status, one sentence, no internals. What was unexpected goes into the server's log."""

import secrets
from http import HTTPStatus
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
    MessageMalformed,
    MessageTooLong,
    ModeMissing,
    QuotaExceeded,
    Refused,
    RequestNotOpen,
    SessionIsClosed,
    SkillUnknown,
    ToolCallAnswered,
    ToolCallUnknown,
    TooManyRuns,
    TooManyTasks,
)
from app.runs.sessions import MetadataTooLong, SessionTaken, SessionUnknown, TitleTooLong
from projections.reads import ViewsUnavailable
from projections.runner import ProjectionLag

logger = structlog.get_logger(__name__)
AnyRequest = Request[Any, Any, Any]
JSON_BYTES_MAX = 2 * 1024 * 1024
"""Of a request's body, but for files."""
DETAIL_CHARS_MAX = 300

STATUS: dict[type[Exception], int] = {
    InvalidCursor: 400,
    InvalidConversationId: 400,
    MessageEmpty: 400,
    MessageTooLong: 413,
    MessageMalformed: 400,
    ToolCallUnknown: 400,
    ToolCallAnswered: 409,
    TitleTooLong: 400,
    PayloadTooLarge: 413,
    SkillUnknown: 404,
    ModeMissing: 400,
    ClientMessageIdInvalid: 400,
    ClientMessageIdReused: 409,
    TooManyRuns: 503,
    MeetingRefused: 400,
    AgentUnknown: 404,
    ConversationBusy: 409,
    TooManyTasks: 429,
    QuotaExceeded: 429,
    RequestNotOpen: 409,
    SessionUnknown: 404,
    SessionIsClosed: 400,
    SessionTaken: 409,
    MetadataTooLong: 413,
    IdempotencyMismatch: 409,
    LogOverloaded: 503,
    LogUnavailable: 503,
    ProjectionLag: 503,
    ViewsUnavailable: 503,
}


def sentence(error: Exception, locale: Locale) -> str | None:
    """What to tell people about an expected error; None for an unexpected one."""
    match error:
        case LogUnavailable() | ProjectionLag() | ViewsUnavailable():
            return text("log_unavailable", locale)
        case LogOverloaded():
            return text("overloaded", locale)
        case Refused():
            return error.sentence(locale)
        case _:
            return str(error) if type(error) in STATUS else None


def more_of(error: BaseException) -> dict[str, Any]:
    """What clients are told of an error besides its sentence: the quota that is used up."""
    return {"quota_info": error.info} if isinstance(error, QuotaExceeded) else {}


def internal(error: Exception, locale: Locale, where: str) -> str:
    """Log an unexpected error under a reference, and return the sentence that names only the reference."""
    reference = secrets.token_hex(4)
    logger.error("unexpected_error", reference=reference, where=where, exc_info=error)
    return text("internal", locale, reference=reference)


def handle_expected(request: AnyRequest, error: Exception) -> Response[Any]:
    locale: Locale = request.app.state["locale"]
    status = STATUS[type(error)]
    headers = {"Retry-After": "1"} if status == 503 else {}
    if isinstance(error, QuotaExceeded):
        headers = {"Retry-After": str(error.seconds_left)}
    return _response(status, sentence(error, locale) or "", headers, more_of(error))


def handle_http(request: AnyRequest, error: HTTPException) -> Response[Any]:
    """Litestar's own errors; a validation error names each wrong field."""
    locale: Locale = request.app.state["locale"]
    detail = error.detail
    if isinstance(error, ValidationException) and error.extra:
        detail = "; ".join(_field(one) for one in error.extra)
    elif detail == HTTPStatus(error.status_code).phrase:
        detail = _said(error.status_code, request, locale) or detail
    return _response(error.status_code, detail, dict(error.headers or {}))


def _said(status: int, request: AnyRequest, locale: Locale) -> str | None:
    """A sentence where the framework has a phrase alone; None: for this status there is none."""
    match status:
        case 404:
            return text("no_address", locale)
        case 405:
            return text("no_method", locale, method=request.method[:40])
        case 413:
            return text("body_too_large", locale, limit=JSON_BYTES_MAX)
        case _:
            return None


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


def shortened(sentence: str) -> str:
    """At most 300 characters."""
    return sentence if len(sentence) <= DETAIL_CHARS_MAX else f"{sentence[: DETAIL_CHARS_MAX - 1]}…"


def _response(
    status: int, detail: str, headers: dict[str, str], more: dict[str, Any] | None = None
) -> Response[Any]:
    body = msgspec.json.encode({"status_code": status, "detail": shortened(detail), **(more or {})})
    return Response(body, status_code=status, media_type=MediaType.JSON, headers=headers)


HANDLERS: dict[int | type[Exception], Any] = {
    **dict.fromkeys(STATUS, handle_expected),
    HTTPException: handle_http,
    RecursionError: handle_unreadable,
    UnicodeDecodeError: handle_unreadable,
    Exception: handle_unexpected,
}
