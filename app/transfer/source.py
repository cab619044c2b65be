"""Lines of an import file, checked: `{"id": …, "messages": [OpenAI messages], …}`, one conversation a line. No I/O.

Values are checked but not changed: every message, and every other field of a line, is kept as the JSON text it was.
"""

import re
from typing import Any, Literal

import msgspec

from app.core import streams
from app.core.messages import Role

MESSAGE_BYTES_MAX = 1_000_000
MESSAGES_MAX = 100_000
VALUE_CHARS_SHOWN = 60
BYTE_ORDER_MARK = b"\xef\xbb\xbf"

CORRECT = "correct it and import again"
_ID = (
    f"give every conversation an id of 1-{streams.CONVERSATION_ID_CHARS_MAX} printable characters without '/'"
)
_TOOL_CALLS = "use [{id, type, function: {name, arguments}}] with arguments as a string"
_ANSWERS = "name the id of the tool call that this message answers"
_SHAPES = (
    (re.compile(r"^id$"), _ID),
    (re.compile(r"^messages$"), "give the conversation's messages as a list of objects"),
    (re.compile(r"^messages\[\d+\]$"), "give every message as an object with a role"),
    (re.compile(r"\.role$"), "use developer, system, user, assistant, tool or function"),
    (re.compile(r"\.content\b"), "use a string, null, or a list of parts, each an object with a type"),
    (re.compile(r"\.tool_calls\b"), _TOOL_CALLS),
    (re.compile(r"\.tool_call_id$"), _ANSWERS),
)
"""What to do where a field is missing or of another shape than it has to be."""
_AT_PATH = re.compile(r"(?P<reason>.*?)(?: - at `\$(?P<path>[^`]*)`)?", re.DOTALL)
_MISSING = re.compile(r"missing required field `(?P<field>[^`]*)`")


class InvalidLine(Exception):
    """A line that cannot be imported: the field, what is wrong with it and what to do. Correct it and run again."""

    def __init__(self, field: str, reason: str, hint: str = CORRECT) -> None:
        super().__init__(f"{field}: {reason}; {hint}" if field else f"{reason}; {hint}")
        self.field = field
        self.reason = reason


class _Function(msgspec.Struct):
    name: str
    arguments: str


class _ToolCall(msgspec.Struct):
    id: str
    function: _Function | None = None
    type: str = "function"


class _Part(msgspec.Struct):
    type: str
    text: str | None = None


class _Message(msgspec.Struct):
    role: Role | Literal["function"]
    content: str | list[_Part] | None = None
    name: str | None = None
    tool_call_id: str | None = None
    refusal: str | None = None
    tool_calls: list[_ToolCall] | None = None


class SourceConversation(msgspec.Struct, frozen=True):
    """One line. `fields` are its other fields, as one JSON object; both it and `messages` are text exactly as read."""

    id: str
    fields: msgspec.Raw
    messages: tuple[msgspec.Raw, ...]


_line_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_id_decoder = msgspec.json.Decoder(str)
_list_decoder = msgspec.json.Decoder(list[msgspec.Raw])
_message_decoder = msgspec.json.Decoder(_Message)
_any_decoder = msgspec.json.Decoder()


def parse_line(line: bytes) -> SourceConversation:
    """Raises `InvalidLine` with the first thing that is wrong."""
    fields = _decode(_line_decoder, line.removeprefix(BYTE_ORDER_MARK), "")
    for name in ("id", "messages"):
        if name not in fields:
            raise _misshapen(name, "is missing")
    conversation_id = _decode(_id_decoder, fields.pop("id"), "id")
    try:
        streams.conversation("", conversation_id)
    except streams.InvalidConversationId as error:
        shown = conversation_id[:VALUE_CHARS_SHOWN] + "…" * (len(conversation_id) > VALUE_CHARS_SHOWN)
        raise InvalidLine("id", f"is {shown!r}, of {len(conversation_id)} characters", _ID) from error
    messages = tuple(_decode(_list_decoder, fields.pop("messages"), "messages"))
    if len(messages) > MESSAGES_MAX:
        raise InvalidLine(
            "messages",
            f"has {len(messages)} messages, the limit is {MESSAGES_MAX}",
            "make several conversations of it",
        )
    for index, message in enumerate(messages):
        _check_message(message, f"messages[{index}]")
    others = msgspec.json.encode(fields)
    if len(others) > MESSAGE_BYTES_MAX:
        raise InvalidLine(
            max(fields, key=lambda name: len(bytes(fields[name]))),
            f"the fields besides messages have {len(others)} bytes, the limit is {MESSAGE_BYTES_MAX}",
            "shorten this one, or leave it out",
        )
    _decode(_any_decoder, others, "")
    return SourceConversation(conversation_id, msgspec.Raw(others), messages)


def _check_message(raw: msgspec.Raw, field: str) -> None:
    size_bytes = len(bytes(raw))
    if size_bytes > MESSAGE_BYTES_MAX:
        raise InvalidLine(
            field, f"has {size_bytes} bytes, the limit is {MESSAGE_BYTES_MAX}", "shorten the message"
        )
    message = _decode(_message_decoder, raw, field)
    if message.role == "tool" and not message.tool_call_id:
        raise InvalidLine(f"{field}.tool_call_id", "is missing in a message of a tool", _ANSWERS)
    if message.tool_calls and message.role != "assistant":
        raise InvalidLine(
            f"{field}.tool_calls",
            f"is not for a message of role {message.role}",
            "leave it out, or give the message the role assistant",
        )
    for number, call in enumerate(message.tool_calls or ()):
        if call.type == "function" and call.function is None:
            raise InvalidLine(f"{field}.tool_calls[{number}].function", "is missing", _TOOL_CALLS)
    _decode(_any_decoder, raw, field)  # also what the checks above leave aside has to be valid JSON text


def _decode(decoder: msgspec.json.Decoder[Any], text: bytes | msgspec.Raw, field: str) -> Any:
    try:
        return decoder.decode(text)
    except msgspec.ValidationError as error:
        raise _at_field(str(error), field) from error
    except RecursionError as error:
        raise InvalidLine(field, "is nested too deeply") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidLine(
            field, f"is not valid JSON ({error})" if field else f"not valid JSON ({error})"
        ) from error


def _at_field(message: str, field: str) -> InvalidLine:
    """msgspec names the place behind its message: "Expected `str`, got `int` - at `$.content`"."""
    found = _AT_PATH.fullmatch(message)
    reason, path = (found["reason"], found["path"] or "") if found else (message, "")
    missing = _MISSING.search(reason)
    if missing:
        return _misshapen(f"{field}{path}.{missing['field']}".lstrip("."), "is missing")
    return _misshapen(f"{field}{path}".lstrip("."), reason[:1].lower() + reason[1:])


def _misshapen(field: str, reason: str) -> InvalidLine:
    hint = next((hint for pattern, hint in _SHAPES if pattern.search(field)), CORRECT)
    return InvalidLine(field, reason, hint)
