"""What stands in a query: how a time is read, and what is said of what cannot be read, or is not taken."""

import re
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from app.core.texts import Locale, text

SHOWN_CHARS_MAX = 40
AS_OF = "as_of"
EARLIEST, LATEST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
_TIME = re.compile(
    r"\s*(?P<date>\d{4}-\d\d-\d\d)T(?P<clock>\d\d:\d\d(:\d\d(\.\d+)?)?)(?P<zone>Z|[-+ ]\d\d:?\d\d)\s*",
    re.ASCII | re.IGNORECASE,
)


class InvalidQuery(ValueError):
    """A value of a query that cannot be read. `key` names the text; the message is in English."""

    def __init__(self, key: str, **values: object) -> None:
        self.key = key
        self.values = values
        super().__init__(self.sentence("en"))

    def sentence(self, locale: Locale) -> str:
        """What was sent, and what to send."""
        return text(self.key, locale, **self.values)


def read_time(name: str, given: str) -> datetime:
    """The time (RFC 3339, also without seconds) in UTC; `name` is that of the parameter. A blank before the zone's
    offset is the plus sign that stood there: in an address it has to be written %2B. Raises `InvalidQuery`."""
    if (found := _TIME.fullmatch(given)) is not None:
        zone = found["zone"].upper().replace(" ", "+")
        with suppress(ValueError):
            return _in_utc(datetime.fromisoformat(f"{found['date']}T{found['clock']}{zone}"))
    raise InvalidQuery("time_invalid", name=name, given=given[:SHOWN_CHARS_MAX])


def refuse_as_of(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Raises `InvalidQuery` for an `as_of` where the call takes none: the answer would be the present, taken for the
    past."""
    given = connection.query_params.get(AS_OF)
    if given is not None and AS_OF not in handler.parsed_fn_signature.parameters:
        raise InvalidQuery("no_as_of", given=str(given)[:SHOWN_CHARS_MAX])


def _in_utc(time: datetime) -> datetime:
    """At the ends of the calendar, the end itself."""
    try:
        return time.astimezone(UTC)
    except OverflowError:
        return EARLIEST if time.year == EARLIEST.year else LATEST
