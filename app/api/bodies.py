"""What a body has to be called: JSON, where a call takes JSON.

The framework reads whatever comes as JSON. But a form on a foreign page can send `text/plain` without asking anybody,
and whoever sends XML by mistake is better told so.
"""

from typing import Any

from litestar.connection import ASGIConnection
from litestar.enums import ScopeType
from litestar.exceptions import HTTPException
from litestar.handlers import BaseRouteHandler

from app.core.texts import text

AnyConnection = ASGIConnection[Any, Any, Any, Any]
TYPE_CHARS_SHOWN = 60


async def demand_json(connection: AnyConnection, handler: BaseRouteHandler) -> None:
    """Raises 415 where a call that takes JSON comes with another type. No type at all is taken for JSON."""
    if connection.scope["type"] != ScopeType.HTTP or "data" not in handler.parsed_fn_signature.parameters:
        return
    given = connection.headers.get("content-type", "")
    if given.strip() and not _is_json(given):
        locale = connection.app.state["locale"]
        raise HTTPException(text("body_type", locale, type=given[:TYPE_CHARS_SHOWN]), status_code=415)


def _is_json(content_type: str) -> bool:
    """`application/json`, and types made of it (`application/problem+json`), with whatever parameters."""
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))
