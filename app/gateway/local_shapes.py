"""JSON answers of a tiny model: pure functions, tuned on SmolLM2-135M.

llama.cpp holds the answer to a schema; the model is left with the words. So the lines of a message that show the form
are left out of the prompt (reading is what takes a tiny model's time), and texts are kept short: left free, the model
goes on within the first one until it is cut off.
"""

from collections.abc import Sequence
from typing import cast

import msgspec

from app.core.messages import AnswerShape, ChatMessage
from app.gateway.local_prompt import chatml, cut

SYSTEM = "You write JSON. Every text in it is one short sentence about the message."
GUIDANCE = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""Of xllamacpp's grammars (llguidance): without it half of the tokens are blanks and line breaks."""


def shape_prompt(messages: Sequence[ChatMessage], chars_max: int) -> str:
    """All that the model was asked, without the forms: the beginning and the end of it, where it is too long."""
    texts = [message.content or "" for message in messages if message.role in ("user", "tool")]
    asked = "\n".join(map(without_forms, texts))
    return chatml([("system", SYSTEM), ("user", cut(asked, chars_max, beginning=2 / 3))])


def without_forms(text: str) -> str:
    """The text without lines that are JSON objects."""
    return "\n".join(line for line in text.splitlines() if not _is_object(line))


def small_schema(shape: AnswerShape, text_chars_max: int) -> dict[str, object]:
    """The small schema with every text bounded, and nothing allowed that it does not name."""
    bounded = cast("dict[str, object]", _bounded(shape.small, text_chars_max))
    return {**bounded, "x-guidance": GUIDANCE}


def _bounded(schema: object, chars_max: int) -> object:
    if isinstance(schema, list):
        return [_bounded(one, chars_max) for one in cast("list[object]", schema)]
    if not isinstance(schema, dict):
        return schema
    fields = cast("dict[str, object]", schema)
    if fields.keys() & {"const", "enum", "pattern"}:
        return fields
    if fields.get("type") == "string":
        return {"maxLength": chars_max, **fields}
    bounded = {key: _bounded(value, chars_max) for key, value in fields.items()}
    return {**bounded, "additionalProperties": False} if "properties" in fields else bounded


def _is_object(line: str) -> bool:
    try:
        return line.lstrip().startswith("{") and isinstance(msgspec.json.decode(line), dict)
    except (msgspec.MsgspecError, RecursionError):
        return False
