"""Errors as clients see them: a status, one sentence, no internals. What was unexpected goes into the server's log."""

import secrets
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import msgspec
import structlog
from litestar import MediaType, Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.typing import FieldDefinition

from app.api.queries import InvalidQuery
from app.api.wrong_input import told_of_parameter, unreadable
from app.auth.decisions import Refusal
from app.core.streams import InvalidConversationId
from app.core.texts import Locale, text
from app.log.errors import IdempotencyMismatch, LogOverloaded, LogUnavailable, PayloadTooLarge
from app.runs.push import NotificationIdReused, NotificationTooLong
from app.runs.refused import (
    AgentUnknown,
    ClientMessageIdReused,
    ConversationBusy,
    MessageTooLong,
    QuotaExceeded,
    Refused,
    RequestNotOpen,
    SkillUnknown,
    ToolCallAnswered,
    TooManyRuns,
    TooManyTasks,
)
from app.runs.reminders import ReminderOver, ReminderUnknown, TooManyReminders
from app.runs.sessions import MetadataTooLong, SessionTaken, SessionUnknown
from projections.page_cursors import InvalidPageCursor
from projections.reads import ViewsUnavailable
from projections.runner import ProjectionLag

logger = structlog.get_logger(__name__)
AnyRequest = Request[Any, Any, Any]
JSON_BYTES_MAX = 2 * 1024 * 1024
"""Of a request's body, but for files."""
DETAIL_CHARS_MAX = 300

STATUS: dict[type[Exception], int] = {
    Refused: 400,
    InvalidQuery: 400,
    InvalidPageCursor: 400,
    InvalidConversationId: 400,
    MessageTooLong: 413,
    ToolCallAnswered: 409,
    PayloadTooLarge: 413,
    SkillUnknown: 404,
    ClientMessageIdReused: 409,
    TooManyRuns: 503,
    AgentUnknown: 404,
    ConversationBusy: 409,
    TooManyTasks: 429,
    QuotaExceeded: 429,
    RequestNotOpen: 409,
    SessionUnknown: 404,
    SessionTaken: 409,
    MetadataTooLong: 413,
    NotificationTooLong: 413,
    NotificationIdReused: 409,
    ReminderUnknown: 404,
    ReminderOver: 409,
    TooManyReminders: 429,
    IdempotencyMismatch: 409,
    LogOverloaded: 503,
    LogUnavailable: 503,
    ProjectionLag: 503,
    ViewsUnavailable: 503,
}
"""Of each kind of expected error; of one that is not here, that of the nearest kind above it."""


def sentence(error: Exception, locale: Locale) -> str | None:
    """What to tell people about an expected error; None for an unexpected one."""
    match error:
        case LogUnavailable() | ProjectionLag() | ViewsUnavailable():
            return text("log_unavailable", locale)
        case LogOverloaded():
            return text("overloaded", locale)
        case PayloadTooLarge():
            return text("kept_too_large", locale, size=error.size_bytes, limit=error.limit_bytes)
        case IdempotencyMismatch():
            return text("id_used", locale)
        case Refused() | Refusal() | InvalidQuery() | InvalidPageCursor() | InvalidConversationId():
            return error.sentence(locale)
        case _:
            return None


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
    status = error.status if isinstance(error, Refusal) else _status(type(error))
    headers = {"Retry-After": "1"} if status == 503 else {}
    if isinstance(error, QuotaExceeded):
        headers = {"Retry-After": str(error.seconds_left)}
    return _response(status, sentence(error, locale) or "", headers, more_of(error))


def _status(kind: type[Exception]) -> int:
    return next(STATUS[one] for one in kind.__mro__ if one in STATUS)


def handle_http(request: AnyRequest, error: HTTPException) -> Response[Any]:
    """Litestar's own errors; a validation error names each wrong parameter."""
    locale: Locale = request.app.state["locale"]
    detail = error.detail
    if isinstance(error, ValidationException) and error.extra:
        detail = "; ".join(_wrong_parameters(request, error.extra, locale))
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
    return _response(400, unreadable(error, b"", "body", request.app.state["locale"]), {})


def handle_unexpected(request: AnyRequest, error: Exception) -> Response[Any]:
    locale: Locale = request.app.state["locale"]
    return _response(500, internal(error, locale, f"{request.method} {request.url.path}"), {})


def _wrong_parameters(request: AnyRequest, found: Any, locale: Locale) -> Iterator[str]:
    """Each under the name that clients know, with its value where that stands in the address: never what is in a body
    or a header, which may be a secret."""
    for one in found:
        key, message = str(one.get("key", "")), str(one.get("message", ""))
        name, expected = key, None
        if (parameter := _parameter(request, key.partition(".")[0])) is not None:
            name = str(getattr(parameter.kwarg_definition, "name", None) or parameter.name)
            expected = parameter.annotation
        given = request.query_params.get(name, request.path_params.get(name))
        yield told_of_parameter(name, message, locale, None if given is None else str(given), expected)


def _parameter(request: AnyRequest, name: str) -> FieldDefinition | None:
    """Of the handler, or of what is provided to it."""
    handler = request.route_handler
    for signature in (
        handler.parsed_fn_signature,
        *(provided.parsed_fn_signature for provided in handler.resolve_dependencies().values()),
    ):
        if name in signature.parameters:
            return signature.parameters[name]
    return None


def shortened(sentence: str) -> str:
    """At most 300 characters."""
    return sentence if len(sentence) <= DETAIL_CHARS_MAX else f"{sentence[: DETAIL_CHARS_MAX - 1]}…"


def _response(
    status: int, detail: str, headers: dict[str, str], more: dict[str, Any] | None = None
) -> Response[Any]:
    body = msgspec.json.encode({"status_code": status, "detail": shortened(detail), **(more or {})})
    return Response(body, status_code=status, media_type=MediaType.JSON, headers=headers)


HANDLERS: dict[int | type[Exception], Any] = {
    **dict.fromkeys((*STATUS, Refusal), handle_expected),
    HTTPException: handle_http,
    RecursionError: handle_unreadable,
    UnicodeDecodeError: handle_unreadable,
    Exception: handle_unexpected,
}
