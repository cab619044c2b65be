"""Structured logs. People at a terminal get lines, everything else gets JSON.

Every line says which request and which run it belongs to: `request_id`, `user_id` and `route` of the HTTP request or
socket, `task_id` and `conversation` of the run. A run that a request has started goes on under that request's id.
"""

import logging
import re
import sys
from collections.abc import Generator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import structlog

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_SECRET = re.compile(r"((?:api_key|access_token|token)=)[^&\s\"'\\]+", re.IGNORECASE)

_request: ContextVar[dict[str, object] | None] = ContextVar("minutebook_request", default=None)
"""Of the request at hand. A dictionary that its tasks share: what one of them learns, such as the user, all log."""

_refused: ContextVar[bool] = ContextVar("minutebook_refused_socket", default=False)
_UNFINISHED = "ASGI callable returned without completing handshake."
"""What uvicorn logs as an error for every socket that was refused with an answer in HTTP, as ASGI has it."""

Fields = MutableMapping[str, Any]


def configure_logs(level: str) -> None:
    """To standard error, from `level` (debug, info, warning, error) on; libraries' logs from warning on."""
    terminal = sys.stderr.isatty()
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        _with_request,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # No local variables in tracebacks: there may be keys among them.
    render: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        if terminal
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[*shared, *render, _without_secrets],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render, _without_secrets],
        foreign_pre_chain=shared,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    handler.addFilter(_is_news)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)


def drop_echoes() -> None:
    """When a connection is lost, psycopg raises what it met first and warns of what it meets while it cleans up behind
    that: it is the same once more, and no news."""
    logging.getLogger("psycopg").addFilter(_is_first)


@contextmanager
def request_context(**fields: object) -> Generator[None]:
    """Meanwhile, every line of this task and of those that it starts has these fields."""
    token = _request.set(fields)
    try:
        yield
    finally:
        _request.reset(token)


def note_request(**fields: object) -> None:
    """What is known of the request at hand only now. Outside of one it does nothing."""
    request = _request.get()
    if request is not None:
        request.update(fields)


def note_refused_socket() -> None:
    """The socket of this task gets an answer, and no handshake: that is no error, and the request's line tells it."""
    _refused.set(True)


def requested(name: str) -> object:
    """A field of the request at hand; None where there is none."""
    return (_request.get() or {}).get(name)


@contextmanager
def run_context(task_id: str, conversation: str) -> Generator[None]:
    """Meanwhile, every line of this task and of those that it starts names the run."""
    with structlog.contextvars.bound_contextvars(task_id=task_id, conversation=conversation):
        yield


def _with_request(_logger: Any, _name: str, fields: Fields) -> Fields:
    for key, value in (_request.get() or {}).items():
        fields.setdefault(key, value)
    return fields


def _is_first(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("error ignored ")


def _is_news(record: logging.LogRecord) -> bool:
    """It is logged in the task that the socket was refused in. Of any other, the line tells of a fault of ours."""
    return not (_refused.get() and record.name == "uvicorn.error" and record.getMessage() == _UNFINISHED)


def _without_secrets(_logger: Any, _name: str, line: Any) -> str:
    """Keys may be in URLs, and URLs in the texts of errors."""
    return _SECRET.sub(r"\1***", line)
