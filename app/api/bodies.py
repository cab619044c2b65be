"""What a body has to be, where a call takes JSON: JSON by its type, and what the call's structure says, to the letter.

The framework takes whatever comes for JSON, and is generous with it: 1 is true to it, and 7 a time. But a form on a
foreign page can send `text/plain` without asking anybody, and a document that says `boolean` means it.
"""

from typing import Any

import msgspec
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.exceptions import ClientException, HTTPException, SerializationException
from litestar.handlers import BaseRouteHandler

from app.api.wrong_input import told, unreadable
from app.core.texts import Locale, text

AnyConnection = ASGIConnection[Any, Any, Any, Any]
TYPE_CHARS_SHOWN = 60


async def demand_body(connection: AnyConnection, handler: BaseRouteHandler) -> None:
    """Raises 415 for a body of another type than JSON (no type at all is taken for JSON), 413 above the limit, and 400
    where it is no JSON, or not of the call's structure."""
    expected = handler.parsed_fn_signature.parameters.get("data")
    if expected is None or not isinstance(connection, Request):
        return
    request: Request[Any, Any, Any] = connection
    locale: Locale = request.app.state["locale"]
    given = request.headers.get("content-type", "")
    if given.strip() and not _is_json(given):
        raise HTTPException(text("body_type", locale, type=given[:TYPE_CHARS_SHOWN]), status_code=415)
    if not await request.body():
        raise ClientException(text("body_missing", locale))
    try:
        msgspec.convert(await request.json(), expected.annotation)
    except SerializationException as error:
        raise ClientException(unreadable(error, await request.body(), "body", locale)) from None
    except msgspec.ValidationError as error:
        raise ClientException(told(str(error), locale, expected.annotation)) from None


def _is_json(content_type: str) -> bool:
    """`application/json`, and types made of it (`application/problem+json`), with whatever parameters."""
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))
