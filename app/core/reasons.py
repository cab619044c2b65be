"""Why input cannot be used, in the language of whoever is told.

Decoders say it in English, in a few patterns. They are taken apart here, so that people are told in their language;
what fits no pattern stays as it is.
"""

import re
from typing import ClassVar

import msgspec

from app.core.texts import Locale, text

_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern + r"\Z", re.DOTALL), key)
    for pattern, key in (
        (r"Expected (?P<wanted>`[^`]+`), got (?P<given>`[^`]+`)", "input_type"),
        (r"Expected (?P<wanted>`array`) of length (?P<bound>\d+), got (?P<given>\d+)", "input_count"),
        (r"Expected (?P<wanted>`\w+`) of length (?P<sign>[<>]=?) (?P<bound>\d+)", "input_length"),
        (r"Expected (?P<wanted>`\w+`) (?P<sign>[<>]=?) (?P<bound>[-+.\w]+)", "input_bound"),
        (r"Expected (?P<wanted>`\w+`) matching regex (?P<pattern>.+)", "input_regex"),
        (r"Expected (?P<wanted>`\w+`) with a timezone component", "input_zone"),
        (r"Expected (?P<wanted>`[^`]+`)", "input_kind"),
        (r"Object missing required field (?P<field>`.+`)", "input_missing"),
        (r"Object contains unknown field (?P<field>`.+`)", "input_unknown"),
        (r"Invalid enum value (?P<given>.+)", "input_enum"),
        (r"Invalid value (?P<given>.+)", "input_value"),
        (r"Invalid UUID", "input_uuid"),
        (r"Invalid RFC3339 encoded (?P<what>\w+)", "input_time"),
        (r"(?P<what>Number|Integer value) out of range", "input_range"),
        (r"Input data was truncated", "json_truncated"),
        (r"JSON is malformed: (?P<what>.+) \(byte (?P<at>\d+)\)", "json_malformed"),
        (r"Bad (?P<part>minute|hour|day-of-month|month|day-of-week)", "cron_{part}"),
        (r"(?P<count>\d+) fields", "cron_fields"),
        (r"more than (?P<limit>\d+) characters", "cron_long"),
        (r"not understood", "cron_unclear"),
        (r"is missing", "input_absent"),
        (r"is empty", "input_empty"),
    )
)


class Reason(msgspec.Struct, frozen=True):
    """Part of a sentence: the text `key` with its values, behind what a decoder `said` in English, if it did."""

    key: str
    values: dict[str, object] = {}
    said: str = ""

    def told(self, locale: Locale) -> str:
        told = text(self.key, locale, **self.values)
        if not self.said:
            return told
        reason = reason_in(self.said, locale)
        return text("reason_then", locale, reason=reason[:1].lower() + reason[1:], then=told)


class Explained(Exception):
    """An error with a sentence for people: `key` names the text, `values` fill it in. A `Reason` among them is told in
    the language of the sentence."""

    key: ClassVar[str]

    def __init__(self, **values: object) -> None:
        self.values = values
        super().__init__(self.sentence("en"))

    def sentence(self, locale: Locale) -> str:
        values = {
            name: value.told(locale) if isinstance(value, Reason) else value
            for name, value in self.values.items()
        }
        return text(self.key, locale, **values)


def reason_in(message: str, locale: Locale) -> str:
    """A message of the decoder (without its place), or of what reads cron expressions, in that language."""
    for pattern, key in _PATTERNS:
        if (found := pattern.match(message)) is not None:
            values = found.groupdict()
            return text(key.format(**values), locale, **values)
    return message
