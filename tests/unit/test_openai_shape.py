"""Contract section 7: messages in the OpenAI shape, all six roles. What passes the check, the client's types take."""

import re
from typing import Any, get_args

import msgspec
import pytest
from openai.types import chat as params
from openai.types.chat.chat_completion_content_part_param import File

from app.core import openai_shape
from app.core.openai_shape import InvalidShape, checked, is_accepted
from tests.support.openai_types import demand_sendable

CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
MADE = {"name": "g", "input": "x"}
CUSTOM = {"id": "c2", "type": "custom", "custom": MADE}
NAMELESS = {"id": "c2", "type": "function", "function": {"name": "", "arguments": "{}"}}
TEXT = {"type": "text", "text": "x"}
GOOD: list[dict[str, Any]] = [
    {"role": "developer", "content": "x", "name": "ops"},
    {"role": "system", "content": [TEXT]},
    {"role": "user", "content": "x", "name": "ana"},
    {
        "role": "user",
        "content": [
            TEXT,
            {"type": "image_url", "image_url": {"url": "data:,", "detail": "low"}},
            {"type": "input_audio", "input_audio": {"data": "aa", "format": "wav"}},
            {"type": "file", "file": {"file_id": "f"}, "prompt_cache_breakpoint": {"mode": "explicit"}},
        ],
    },
    {"role": "assistant", "content": "x"},
    {"role": "assistant", "content": [TEXT, {"type": "refusal", "refusal": "no"}]},
    {"role": "assistant", "refusal": "no"},
    {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
    {"role": "function", "content": None, "name": "f"},
]
BAD: list[tuple[Any, str]] = [
    ([], ""),
    ({"content": "x"}, "role"),
    ({"role": "robot", "content": "x"}, "role"),
    ({"role": 5, "content": "x"}, "role"),
    ({"role": "user"}, "content"),
    ({"role": "user", "content": None}, "content"),
    ({"role": "user", "content": [{"type": "hologram"}]}, "content[0].type"),
    ({"role": "system", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}, "content[0].type"),
    ({"role": "user", "content": "x", "tool_calls": [CALL]}, "tool_calls"),
    ({"role": "user", "content": "x", "tool_call_id": "c1"}, "tool_call_id"),
    ({"role": "tool", "content": "x"}, "tool_call_id"),
    ({"role": "tool", "content": "x", "tool_call_id": ""}, "tool_call_id"),
    ({"role": "assistant"}, "content"),
    ({"role": "assistant", "content": ""}, "content"),
    ({"role": "assistant", "tool_calls": [{**CALL, "function": {"name": "f"}}]}, "tool_calls[0].function.arguments"),
    ({"role": "assistant", "tool_calls": [CALL, CALL]}, "tool_calls"),
    ({"role": "assistant", "tool_calls": []}, "content"),
    ({"role": "assistant", "content": "", "tool_calls": []}, "content"),
    ({"role": "assistant", "content": []}, "content"),
    ({"role": "assistant", "content": "x", "tool_calls": [CALL, NAMELESS]}, "tool_calls[1].function.name"),
    ({"role": "assistant", "tool_calls": [{**CUSTOM, "custom": {**MADE, "name": ""}}]}, "tool_calls[0].custom.name"),
    ({"role": "assistant", "function_call": {"name": "", "arguments": "{}"}}, "function_call.name"),
    ({"role": "user", "content": "x", "client_id": "c"}, "client_id"),
    ({"role": "user", "content": "x", "weight": 1}, "weight"),
    ({"role": "tool", "content": "x", "tool_call_id": "c1", "is_error": True}, "is_error"),
    ({"role": "assistant", "tool_calls": [{**CALL, "index": 0}]}, "tool_calls[0].index"),
    ({"role": "assistant", "tool_calls": [{**CUSTOM, "custom": {**MADE, "z": 1}}]}, "tool_calls[0].custom.z"),
    ({"role": "user", "content": [TEXT, {**TEXT, "cache_control": {}}]}, "content[1].cache_control"),
    ({"role": "function", "content": "x"}, "name"),
    ({"role": "user", "content": "x", "name": 5}, "name"),
]  # fmt: skip


def raw(message: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(message))


@pytest.mark.parametrize("message", GOOD, ids=lambda message: f"{message['role']} {list(message)}")
def test_what_passes_is_kept_as_it_was_and_the_types_take_it(message: dict[str, Any]) -> None:
    kept = checked(raw(message)).message
    assert msgspec.json.decode(kept) == message
    assert is_accepted(kept)
    demand_sendable([message])


@pytest.mark.parametrize(("message", "field"), BAD, ids=lambda value: str(value)[:60])
def test_what_is_wrong_is_named(message: object, field: str) -> None:
    with pytest.raises(InvalidShape) as caught:
        checked(raw(message))
    assert caught.value.field == field
    assert caught.value.reason.told("en")
    in_chinese = caught.value.reason.told("zh")
    assert re.search(r"[\u4e00-\u9fff]", in_chinese), in_chinese
    assert not re.search(r"[a-z]+ [a-z]+ [a-z]+", in_chinese), in_chinese


def test_tool_calls_and_results_are_known_by_their_ids() -> None:
    assert checked(raw({"role": "assistant", "tool_calls": [CALL, CUSTOM]})).call_ids == ("c1", "c2")
    assert checked(raw({"role": "tool", "content": "x", "tool_call_id": "c1"})).answers == "c1"


def test_no_tool_calls_are_the_same_as_none_and_left_out() -> None:
    """The API refuses an empty list, but clients send it with every answer."""
    kept = checked(raw({"role": "assistant", "content": "x", "tool_calls": []})).message
    assert msgspec.json.decode(kept) == {"role": "assistant", "content": "x"}


def test_every_key_of_the_clients_types_is_known() -> None:
    """Guard: a key that a newer client knows and the check refuses."""
    checked_types = {
        "developer": params.ChatCompletionDeveloperMessageParam,
        "system": params.ChatCompletionSystemMessageParam,
        "user": params.ChatCompletionUserMessageParam,
        "assistant": params.ChatCompletionAssistantMessageParam,
        "tool": params.ChatCompletionToolMessageParam,
        "function": params.ChatCompletionFunctionMessageParam,
        "text": params.ChatCompletionContentPartTextParam,
        "refusal": params.ChatCompletionContentPartRefusalParam,
        "image_url": params.ChatCompletionContentPartImageParam,
        "input_audio": params.ChatCompletionContentPartInputAudioParam,
        "file": File,
    }
    parts = [openai_shape.TextPart, openai_shape.RefusalPart, openai_shape.ImagePart, openai_shape.AudioPart]
    ours = [*get_args(openai_shape._Message), *parts, openai_shape.FilePart]
    for one in ours:
        config = one.__struct_config__
        known = {config.tag_field, *one.__struct_fields__} - ({"name"} if config.tag == "tool" else set())
        assert known == set(checked_types.pop(config.tag).__annotations__), config.tag
    assert not checked_types


def test_what_was_stored_before_is_handed_out_as_it_is() -> None:
    """What an import has kept with a key of its own stays exactly as it was; only what comes in is refused."""
    for message in ({"role": "user", "content": "x", "weight": 1}, {"role": "assistant", "tool_calls": []}):
        assert is_accepted(raw(message))
        with pytest.raises(InvalidShape):
            checked(raw(message))


def test_a_key_that_is_null_is_left_out() -> None:
    message = {"role": "assistant", "content": None, "refusal": "no", "tool_calls": None, "name": None}
    assert not is_accepted(raw(message))
    kept = checked(raw(message)).message
    assert msgspec.json.decode(kept) == {"role": "assistant", "content": None, "refusal": "no"}


@pytest.mark.parametrize(
    "text",
    [b"[" * 10_000 + b"]" * 10_000, b'{"role":"user","content":"x","z":' + b"[" * 10_000 + b"]" * 10_000 + b"}"],
)  # fmt: skip
def test_what_is_nested_too_deeply_gets_a_sentence(text: bytes) -> None:
    with pytest.raises(InvalidShape, match="nested too deeply"):
        checked(text)
    assert not is_accepted(text)
