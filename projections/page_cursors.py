"""The cursors of lists: where a page ended, in URL-safe base64. They mean nothing to clients, who hand them back.

Those of tasks, files, reminders and of the lists for admins were plain text once; clients may go on with such a one.
"""

import base64
from datetime import UTC, datetime

from app.core.texts import Locale, text

SHOWN_CHARS_MAX = 40
OFFSET_DIGITS_MAX = 18
OFFSET_CHARS_MAX = 24


class InvalidPageCursor(ValueError):
    """No cursor of the list. The message is in English, `sentence` in any language."""

    def __init__(self, given: str) -> None:
        self._given = given[:SHOWN_CHARS_MAX]
        super().__init__(self.sentence("en"))

    def sentence(self, locale: Locale) -> str:
        """What was sent, and what to send."""
        return text("cursor_of_list", locale, given=self._given)


def packed(plain: str) -> str:
    """What clients get."""
    return base64.urlsafe_b64encode(plain.encode()).decode().rstrip("=")


def unpacked(cursor: str, *, chars_max: int) -> str:
    """The text of which this is `packed`. Raises `ValueError` for what `packed` has not made, and for a longer one."""
    if len(cursor) > chars_max:
        raise ValueError("too long")
    return base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()


def encoded(at: datetime, key: object) -> str:
    """The cursor of a list that is in the order of times and keys. `at` has its zone."""
    return packed(f"{at.isoformat()}~{key}")


def decoded(cursor: str, *, chars_max: int) -> tuple[datetime, str]:
    """Time (UTC) and key of the cursor, also in the plain form (no base64 has a tilde). Raises `InvalidPageCursor`,
    also for a text that is longer."""
    try:
        plain = cursor if "~" in cursor else unpacked(cursor, chars_max=chars_max)
        written, _, key = plain.partition("~")
        at = datetime.fromisoformat(written)
        if at.tzinfo is not None and len(cursor) <= chars_max:
            return at.astimezone(UTC), key
    except (ValueError, OverflowError):
        pass
    raise InvalidPageCursor(cursor)


def names_of(cursor: str, *, chars_max: int) -> tuple[str, ...]:
    """The names that this may be the cursor of in a list that is in the order of names: of the packed one, and of the
    plain one. Whoever keeps the list knows which there is."""
    try:
        return unpacked(cursor, chars_max=chars_max), cursor
    except ValueError:
        return (cursor,)


def offset_cursor(offset: int) -> str:
    """The cursor of a list that is in the order of an owner's events."""
    return packed(str(offset))


def offset_of(cursor: str) -> int:
    """The offset of which this is the cursor, also in the plain form (base64 of digits begins with a letter). Raises
    `InvalidPageCursor`."""
    try:
        plain = cursor if cursor.isdigit() else unpacked(cursor, chars_max=OFFSET_CHARS_MAX)
    except ValueError:
        raise InvalidPageCursor(cursor) from None
    if not (plain.isascii() and plain.isdigit() and len(plain) <= OFFSET_DIGITS_MAX):
        raise InvalidPageCursor(cursor)
    return int(plain)
