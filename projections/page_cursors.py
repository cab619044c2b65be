"""The text of a cursor that tells where a page of a list ended: a time and the key of a row, in URL-safe base64."""

import base64
from datetime import datetime


def encoded(at: datetime, key: object) -> str:
    """What clients get. `at` has its zone."""
    return base64.urlsafe_b64encode(f"{at.isoformat()}~{key}".encode()).decode().rstrip("=")


def decoded(text: str, *, chars_max: int) -> tuple[datetime, str]:
    """Time and key of the cursor. Raises `ValueError` for what `encoded` has not made, and for a longer text."""
    if len(text) > chars_max:
        raise ValueError("too long")
    plain = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode()
    written, _, key = plain.partition("~")
    at = datetime.fromisoformat(written)
    if at.tzinfo is None:
        raise ValueError("no zone")
    return at, key


def refusal(text: str) -> str:
    """What is said of a text that is no cursor."""
    return f"cursor={text[:40]!r} is not a cursor; send the one of the page before, or none"
