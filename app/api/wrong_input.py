"""Sentences about input that cannot be decoded: where it is wrong, how, and what could stand there.

Why it is wrong is told by `app.core.reasons`.
"""

import re
from collections.abc import Iterator
from enum import Enum
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

from app.core.reasons import reason_in
from app.core.texts import Locale, text

GIVEN_CHARS_MAX = 40
KNOWN_MAX = 20
What = Literal["body", "frame"]

_PLACE = re.compile(r" - at (?P<key>`key` in )?`\$(?P<place>[^`]*)`\Z")
_STEP = re.compile(r"\.(?P<field>[^.\[]+)|\[(?P<item>[^\]]*)\]")
# JSON writes what is outside of the basic plane as two halves (RFC 8259, 7); either may stand alone by mistake.
_HIGH, _LOW = r"\\u[dD][89abAB][0-9a-fA-F]{2}", r"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_ESCAPES = re.compile(rf"\\\\|{_HIGH}{_LOW}|(?P<half>{_HIGH}|{_LOW})")


def told(message: str, locale: Locale, expected: Any = None) -> str:
    """What the decoder said of a value with the place in front, and what could stand there. `expected`: the type that
    was decoded. Shows no values but those that the decoder shows: a word where one of a few has to stand."""
    found = _PLACE.search(message)
    place, of_key = ("", False) if found is None else (found["place"], bool(found["key"]))
    said = message if found is None else message[: found.start()]
    reason = reason_in(said, locale)
    if said.startswith("Invalid enum value") and not of_key and (known := members(expected, place)):
        reason = text("input_known", locale, reason=reason, known=_listed(known))
    name = place.lstrip(".")
    return text("input_named", locale, name=name, reason=reason) if name else reason


def told_of_parameter(name: str, message: str, locale: Locale, given: str | None, expected: Any) -> str:
    """As `told`, of a parameter in an address, which is text (so it is not said that it was one). `given` None: it is
    not shown."""
    if given is None:
        return text("input_named", locale, name=name, reason=told(message, locale, expected))
    shown = given if len(given) <= GIVEN_CHARS_MAX else f"{given[: GIVEN_CHARS_MAX - 1]}…"
    if message.startswith("Invalid enum value") and (known := members(expected)):
        return text("input_no_member", locale, name=name, given=shown, known=_listed(known))
    reason = reason_in(message.removesuffix(", got `str`").replace(" | null`", "`"), locale)
    return text("input_value_of", locale, name=name, given=shown, reason=reason)


def unreadable(error: Exception, raw: str | bytes, what: What, locale: Locale) -> str:
    """Why `raw` could not be decoded as JSON at all."""
    match error:
        case RecursionError():
            return text(f"{what}_unreadable", locale, reason=text("json_deep", locale))
        case UnicodeError():
            return text(f"{what}_unreadable", locale, reason=text("json_not_utf8", locale))
        case _ if half := _half_character(str(error), raw):
            return text(f"{what}_unreadable", locale, reason=text("json_surrogate", locale, given=half))
        case _:
            return text(f"{what}_not_json", locale, reason=reason_in(str(error).rstrip("."), locale))


def members(expected: Any, place: str = "") -> tuple[str, ...]:
    """The words of which one has to stand at a place (`.messages[0].role`) of what is decoded as `expected`; none where
    it is not to be one of a few."""
    at = [expected]
    for step in _STEP.finditer(place):
        at = [inner for one in at for inner in _inside(one, step["field"])]
    found = [str(word) for one in at for choice in _choices(one) for word in _words(choice)]
    return tuple(dict.fromkeys(found))


def _choices(expected: Any) -> Iterator[Any]:
    """What a type may be, without notes."""
    origin = get_origin(expected)
    if origin is Annotated:
        yield from _choices(get_args(expected)[0])
    elif origin in (Union, UnionType):
        for one in get_args(expected):
            yield from _choices(one)
    else:
        yield expected


def _inside(expected: Any, field: str | None) -> Iterator[Any]:
    """What may stand in that field, or as an item."""
    for one in _choices(expected):
        if isinstance(one, type) and issubclass(one, msgspec.Struct):
            yield from (known.type for known in msgspec.structs.fields(one) if known.encode_name == field)
        elif field is None and (arguments := get_args(one)):
            yield from arguments[-1:] if get_origin(one) is dict else arguments


def _words(expected: Any) -> tuple[Any, ...]:
    if get_origin(expected) is Literal:
        return get_args(expected)
    if isinstance(expected, type) and issubclass(expected, Enum):
        return tuple(one.value for one in expected)
    return ()


def _listed(known: tuple[str, ...]) -> str:
    return ", ".join(known[:KNOWN_MAX]) + ("…" if len(known) > KNOWN_MAX else "")


def _half_character(message: str, raw: str | bytes) -> str:
    """The half of a character at which the decoder gave up, as it is written; empty where it was something else."""
    if "truncated" not in message and "surrogate" not in message:
        return ""
    written = raw if isinstance(raw, str) else raw.decode(errors="replace")
    return next((found["half"] for found in _ESCAPES.finditer(written) if found["half"]), "")
