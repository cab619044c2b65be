"""Messages in the shape of the OpenAI chat API, checked: what passes here is what the `openai` client's types take.

Source of the shape: OpenAI API reference, "Chat completions", `messages`; the six roles, `function` being the old form
of `tool`. A message is kept as the JSON text that it was, without the keys that are null.
"""

import re
from typing import Any, Literal, TypeAlias, assert_never

import msgspec

from app.core.messages import storable
from app.core.reasons import Reason

NAME_CHARS_MAX = 200
ROLES = ("developer", "system", "user", "assistant", "tool", "function")


class InvalidShape(ValueError):
    """`field` of the message is wrong, empty for the message itself: `reason` says what and how to correct it."""

    def __init__(self, field: str, reason: Reason) -> None:
        super().__init__(": ".join(filter(None, (field, reason.told("en")))))
        self.field = field
        self.reason = reason


class _Breakpoint(msgspec.Struct, frozen=True):
    mode: Literal["explicit"]
    ttl: Literal["30m", "12h"] | msgspec.UnsetType = msgspec.UNSET


class TextPart(msgspec.Struct, frozen=True, tag_field="type", tag="text"):
    text: str
    prompt_cache_breakpoint: _Breakpoint | msgspec.UnsetType = msgspec.UNSET


class RefusalPart(msgspec.Struct, frozen=True, tag_field="type", tag="refusal"):
    refusal: str


class _Image(msgspec.Struct, frozen=True):
    url: str
    detail: Literal["auto", "low", "high", "original"] | msgspec.UnsetType = msgspec.UNSET


class ImagePart(msgspec.Struct, frozen=True, tag_field="type", tag="image_url"):
    image_url: _Image
    prompt_cache_breakpoint: _Breakpoint | msgspec.UnsetType = msgspec.UNSET


class _Audio(msgspec.Struct, frozen=True):
    data: str
    format: Literal["wav", "mp3"]


class AudioPart(msgspec.Struct, frozen=True, tag_field="type", tag="input_audio"):
    input_audio: _Audio
    prompt_cache_breakpoint: _Breakpoint | msgspec.UnsetType = msgspec.UNSET


class _File(msgspec.Struct, frozen=True):
    file_data: str | msgspec.UnsetType = msgspec.UNSET
    file_id: str | msgspec.UnsetType = msgspec.UNSET
    filename: str | msgspec.UnsetType = msgspec.UNSET


class FilePart(msgspec.Struct, frozen=True, tag_field="type", tag="file"):
    file: _File
    prompt_cache_breakpoint: _Breakpoint | msgspec.UnsetType = msgspec.UNSET


class _Function(msgspec.Struct, frozen=True):
    name: str
    arguments: str


class FunctionCall(msgspec.Struct, frozen=True, tag_field="type", tag="function"):
    id: str
    function: _Function


class _Custom(msgspec.Struct, frozen=True):
    name: str
    input: str


class CustomCall(msgspec.Struct, frozen=True, tag_field="type", tag="custom"):
    id: str
    custom: _Custom


Texts: TypeAlias = str | list[TextPart]
Unset = msgspec.UnsetType
UNSET = msgspec.UNSET


class _Developer(msgspec.Struct, frozen=True, tag_field="role", tag="developer"):
    content: Texts
    name: str | Unset = UNSET


class _System(msgspec.Struct, frozen=True, tag_field="role", tag="system"):
    content: Texts
    name: str | Unset = UNSET


class _User(msgspec.Struct, frozen=True, tag_field="role", tag="user"):
    content: str | list[TextPart | ImagePart | AudioPart | FilePart]
    name: str | Unset = UNSET


class _Said(msgspec.Struct, frozen=True):
    id: str


class _Assistant(msgspec.Struct, frozen=True, tag_field="role", tag="assistant"):
    content: str | list[TextPart | RefusalPart] | None = None
    name: str | Unset = UNSET
    refusal: str | Unset = UNSET
    tool_calls: list[FunctionCall | CustomCall] | Unset = UNSET
    function_call: _Function | Unset = UNSET
    audio: _Said | Unset = UNSET


class _Tool(msgspec.Struct, frozen=True, tag_field="role", tag="tool"):
    content: Texts
    tool_call_id: str
    name: str | Unset = UNSET


class _FunctionResult(msgspec.Struct, frozen=True, tag_field="role", tag="function"):
    content: str | None
    name: str


_Message: TypeAlias = _Developer | _System | _User | _Assistant | _Tool | _FunctionResult
_OF_ASSISTANT = ("refusal", "tool_calls", "function_call", "audio")
_OF_SOME = (*_OF_ASSISTANT, "tool_call_id")
KEY_CHARS_SHOWN = 80

_decoder: msgspec.json.Decoder[_Message] = msgspec.json.Decoder(_Message)
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_any = msgspec.json.Decoder()
_encoder = msgspec.json.Encoder()
_AT_PATH = re.compile(r"(?P<reason>.*?)(?: - at `(?:key in )?\$\.?(?P<path>[^`]*)`)?", re.DOTALL)
_HINTS = (
    (re.compile(r"^role$"), Reason("shape_role", {"roles": ", ".join(ROLES)})),
    (re.compile(r"^content\b"), Reason("shape_content")),
    (re.compile(r"^tool_calls\b"), Reason("shape_tool_calls")),
    (re.compile(r"^tool_call_id$"), Reason("shape_answers")),
    (re.compile(r"^name$"), Reason("shape_name")),
)


class Checked(msgspec.Struct, frozen=True):
    """A message that is as it should be. `call_ids` are those of its tool calls, `answers` the call that it answers."""

    role: str
    message: msgspec.Raw
    call_ids: tuple[str, ...] = ()
    answers: str | None = None


def checked(message: msgspec.Raw | bytes) -> Checked:
    """What comes in from now on: stricter than the client's types, as the API itself is. Raises `InvalidShape` with the
    first thing that is wrong."""
    message = _without_nulls(message)
    try:
        found = _decoder.decode(message)
    except msgspec.ValidationError as error:
        raise _shown(str(error)) from None
    role = str(type(found).__struct_config__.tag)
    _demand_known(role, _any.decode(message), msgspec.to_builtins(found))
    match found:
        case _Assistant():
            return _assistant(found, message)
        case _Tool():
            if not found.tool_call_id:
                raise InvalidShape("tool_call_id", Reason("shape_answers", said="is empty"))
            return Checked("tool", message, answers=found.tool_call_id)
        case _:
            return Checked(role, message)


def is_accepted(message: msgspec.Raw | bytes) -> bool:
    """Whether the client's types take the message as it is. They take more than `checked` does."""
    try:
        bare = _without_nulls(message)
        _decoder.decode(bare)
    except (InvalidShape, msgspec.ValidationError):
        return False
    return bytes(bare) == bytes(message)


def _assistant(found: _Assistant, message: msgspec.Raw) -> Checked:
    """No tool calls are the same as none at all: the API refuses an empty list, and clients send it all the same."""
    calls = () if isinstance(found.tool_calls, Unset) else tuple(found.tool_calls)
    if found.tool_calls == []:
        fields = _fields.decode(message)
        message = _encoded(fields, [key for key in fields if key != "tool_calls"], message)
    said = (found.content, found.refusal, calls, found.function_call, found.audio)
    if not any(said):
        raise InvalidShape("content", Reason("shape_said_nothing", said="is missing"))
    ids = tuple(call.id for call in calls)
    if len(set(ids)) < len(ids) or not all(ids):
        raise InvalidShape("tool_calls", Reason("shape_call_ids"))
    names = {f"tool_calls[{n}].{kind}": name for n, (kind, name) in enumerate(map(_called, calls))}
    if not isinstance(found.function_call, Unset):
        names["function_call"] = found.function_call.name
    if nameless := next((place for place, name in names.items() if not name), None):
        raise InvalidShape(f"{nameless}.name", Reason("shape_called", said="is empty"))
    return Checked("assistant", message, ids)


def _called(call: FunctionCall | CustomCall) -> tuple[str, str]:
    """The key that the name of what is called stands under, and the name."""
    match call:
        case FunctionCall():
            return "function", call.function.name
        case CustomCall():
            return "custom", call.custom.name
        case _ as never:
            assert_never(never)


def _demand_known(role: str, given: object, known: object) -> None:
    """Raises `InvalidShape` for a key that was given and means nothing."""
    unknown = _unknown(given, known)
    if unknown is None:
        return
    place = unknown.removeprefix(".")
    known_elsewhere = place in _OF_SOME
    raise InvalidShape(
        place, Reason("shape_other_role", {"role": role}) if known_elsewhere else Reason("shape_unknown")
    )


def _unknown(given: Any, known: Any) -> str | None:
    """The place of the first key that is not known, as `.key[0].key`."""
    understood = _members(known)
    for place, value in _members(given).items():
        if place not in understood:
            return place[:KEY_CHARS_SHOWN]
        if (inner := _unknown(value, understood[place])) is not None:
            return place + inner
    return None


def _members(value: Any) -> dict[str, Any]:
    """What a JSON value has in it, by place."""
    match value:
        case dict():
            return {f".{key}": item for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType]
        case list():
            return {f"[{n}]": item for n, item in enumerate(value)}  # pyright: ignore[reportUnknownVariableType,reportUnknownArgumentType]
        case _:
            return {}


def _without_nulls(message: msgspec.Raw | bytes) -> msgspec.Raw:
    """Null is the same as nothing, but the client's types do not take it. `content` may be null."""
    try:
        _any.decode(message)  # also what nobody looks at has to be valid JSON text
        fields = _fields.decode(message)
    except msgspec.ValidationError:
        raise InvalidShape("", Reason("shape_object")) from None
    except RecursionError:
        raise InvalidShape("", Reason("shape_deep")) from None
    except (msgspec.DecodeError, UnicodeError):
        raise InvalidShape("", Reason("shape_not_json")) from None
    kept = [key for key, value in fields.items() if key == "content" or bytes(value) != b"null"]
    return _encoded(fields, kept, message)


def _encoded(fields: dict[str, msgspec.Raw], keys: list[str], message: msgspec.Raw | bytes) -> msgspec.Raw:
    """The message with these of its keys; as it was, to the letter, where these are all."""
    if len(keys) == len(fields):
        return msgspec.Raw(bytes(message))
    return msgspec.Raw(_encoder.encode({key: fields[key] for key in keys}))


def _shown(message: str) -> InvalidShape:
    """msgspec names the place behind its message: "Expected `str`, got `int` - at `$.content`"."""
    found = _AT_PATH.fullmatch(message)
    reason, path = (found["reason"], found["path"] or "") if found else (message, "")
    if missing := re.search(r"missing required field `([^`]*)`", reason):
        path, reason = ".".join(filter(None, (path, missing[1]))), "is missing"
    hint = next((hint for pattern, hint in _HINTS if pattern.search(path)), Reason("shape_other"))
    return InvalidShape(path, msgspec.structs.replace(hint, said=storable(reason)))
