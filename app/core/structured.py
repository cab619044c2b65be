"""Answers of a model that have to be a JSON object of a certain shape: found in what it wrote, and checked.

Repaired is only what leaves no doubt: code fences and other text around the one object, line breaks within its strings.
The rest is told to the model.
"""

import json
import re
from typing import TypeVar

import msgspec

TEXT_CHARS_MAX = 200_000

_OPENING = re.compile(r"\{(?=\s*(?:[\"'}]|\w{1,100}\s*:))")
"""A brace with which an object begins, well-formed or not; other braces are prose."""

SENTENCE: dict[str, object] = {"type": "string", "pattern": r"^[A-Z][a-z]+(,? [A-Za-z0-9]+){3,12}\.$"}
"""For small shapes: a model that small, left free, fills a text with ids and times, or never ends it."""
PHRASE: dict[str, object] = {"type": "string", "pattern": "^[A-Z][a-z]+( [a-z]+){1,4}$"}

T = TypeVar("T")


class Malformed(Exception):
    """The answer is not what was asked for. The text is one sentence for the model: what is wrong."""


def read_answer(text: str, type: type[T]) -> T:
    """The one JSON object within the text, as that type. Raises `Malformed`; nothing is guessed or filled in."""
    found = _objects(text)
    if len(found) != 1:
        raise Malformed(f"There are {len(found)} JSON objects in it; write exactly one.")
    try:
        return msgspec.convert(found[0], type)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise Malformed(f"The JSON object does not have the right form: {error}.") from None


def _objects(text: str) -> list[object]:
    """The JSON objects in the text, without those within others. Raises `Malformed` where one is broken or none is
    there: what stands within a broken object is never taken for the answer."""
    if len(text) > TEXT_CHARS_MAX:
        raise Malformed(f"It has {len(text)} characters; at most {TEXT_CHARS_MAX} are possible.")
    decoder = json.JSONDecoder(strict=False, parse_constant=_no_constant)
    found: list[object] = []
    position = 0
    while (opening := _OPENING.search(text, position)) is not None:
        try:
            value, position = decoder.raw_decode(text, opening.start())
        except (ValueError, RecursionError) as error:
            raise Malformed(f"The JSON object in it is not valid ({_reason(error)}).") from None
        found.append(value)
    if not found:
        raise Malformed("There is no JSON object in it.")
    return found


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON value")


def _reason(error: Exception) -> str:
    match error:
        case json.JSONDecodeError():
            return f"{error.msg}, line {error.lineno}, column {error.colno}"
        case RecursionError():
            return "it is nested too deeply"
        case _:
            return str(error)
