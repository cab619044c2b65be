"""What of a line is refused, and with which words."""

import json

import pytest

from app.transfer.source import InvalidLine, parse_line


def line(*messages: object, **fields: object) -> bytes:
    return json.dumps({"id": "c1", "messages": list(messages), **fields}).encode()


def call(**fields: object) -> dict[str, object]:
    return {"id": "x", "type": "function", "function": {"name": "f", "arguments": "{}"}, **fields}


def test_messages_and_other_fields_are_kept_as_they_are_written() -> None:
    message = b'{"role":"user", "content":"\\u4e2d"}'
    text = (
        b'\xef\xbb\xbf{"reward": 1.0, "id":"c1","big":12345678901234567890,"messages":[ ' + message + b" ]}\n"
    )
    conversation = parse_line(text)
    assert conversation.id == "c1"
    assert bytes(conversation.fields) == b'{"reward":1.0,"big":12345678901234567890}'
    assert [bytes(kept) for kept in conversation.messages] == [message]


@pytest.mark.parametrize(
    "message",
    [
        {"role": "developer", "content": "x"},
        {
            "role": "user",
            "content": [{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": "u"}}],
        },
        {"role": "assistant", "content": None, "tool_calls": [call()]},
        {"role": "assistant", "content": None, "refusal": "no"},
        {
            "role": "assistant",
            "tool_calls": [{"id": "x", "type": "custom", "custom": {"name": "f", "input": ""}}],
        },
        {"role": "tool", "content": "x", "tool_call_id": "x", "name": "f", "of": {"a": ["newer", "release"]}},
    ],
)
def test_what_the_api_takes_is_taken(message: object) -> None:
    assert len(parse_line(line(message)).messages) == 1


@pytest.mark.parametrize(
    ("text", "field", "says"),
    [
        (b"", "", "not valid JSON"),
        (b'{"id":"c1","messages":[', "", "not valid JSON"),
        (b"[]", "", "expected `object`"),
        (b'{"id":"c1","messages":[]} {}', "", "not valid JSON"),
        (b'{"messages":[]}', "id", "is missing"),
        (b'{"id":7,"messages":[]}', "id", "expected `str`, got `int`"),
        (b'{"id":"a/b","messages":[]}', "id", "1-200 printable characters"),
        (b'{"id":"c1"}', "messages", "is missing"),
        (b'{"id":"c1","messages":{}}', "messages", "expected `array`, got `object`"),
        (line("hello"), "messages[0]", "expected `object`, got `str`"),
        (line({"content": "x"}), "messages[0].role", "is missing"),
        (
            line({"role": "user", "content": "x"}, {"role": "bot", "content": "x"}),
            "messages[1].role",
            "'bot'",
        ),
        (line({"role": "user", "content": 7}), "messages[0].content", "got `int`"),
        (line({"role": "user", "content": [{"text": "x"}]}), "messages[0].content[0].type", "is missing"),
        (
            line({"role": "user", "content": [{"type": "text", "text": 7}]}),
            "messages[0].content[0].text",
            "`int`",
        ),
        (line({"role": "tool", "content": "x"}), "messages[0].tool_call_id", "is missing"),
        (line({"role": "user", "tool_calls": [call()]}), "messages[0].tool_calls", "role user"),
        (line({"role": "assistant", "tool_calls": {}}), "messages[0].tool_calls", "got `object`"),
        (
            line({"role": "assistant", "tool_calls": [call(id=None)]}),
            "messages[0].tool_calls[0].id",
            "`null`",
        ),
        (
            line({"role": "assistant", "tool_calls": [call(function={"name": "f", "arguments": {}})]}),
            "messages[0].tool_calls[0].function.arguments",
            "expected `str`, got `object`",
        ),
        (
            line({"role": "assistant", "tool_calls": [{"id": "x", "type": "function"}]}),
            "messages[0].tool_calls[0].function",
            "is missing",
        ),
        (line({"role": "user", "content": "x" * 1_000_001}), "messages[0]", "the limit is 1000000"),
        (line(notes="x" * 1_000_001), "notes", "the limit is 1000000"),
        (b'{"id":"c1","messages":[{"role":"user","content":"\\ud800"}]}', "", "not valid JSON"),
        (b'{"id":"c1","messages":[{"role":"user","content":"\xff"}]}', "messages[0]", "JSON"),
        (b'{"id":"c1","messages":[{"role":"user","x":' + b"[" * 100_000, "", "nested too deeply"),
        (b'{"id":"c1","messages":[],"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "", "nested too deeply"),
    ],
)
def test_a_broken_line_names_the_field_and_what_to_do(text: bytes, field: str, says: str) -> None:
    with pytest.raises(InvalidLine) as caught:
        parse_line(text)
    assert caught.value.field == field
    assert says in str(caught.value)
    assert ";" in str(caught.value), "what to do"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            b'{"id":"a/b","messages":[]}',
            "id: is 'a/b', of 3 characters; give every conversation an id of 1-200 printable characters without '/'",
        ),
        (
            json.dumps({"id": "x" * 201, "messages": []}).encode(),
            f"id: is '{'x' * 60}…', of 201 characters; give every conversation an id of 1-200 printable characters "
            "without '/'",
        ),
        (
            b'{"messages":[]}',
            "id: is missing; give every conversation an id of 1-200 printable characters without '/'",
        ),
        (
            b'{"id":"c1","messages":{}}',
            "messages: expected `array`, got `object`; give the conversation's messages as a list of objects",
        ),
        (
            line({"role": "user", "tool_calls": [call()]}),
            "messages[0].tool_calls: is not for a message of role user; leave it out, or give the message the role "
            "assistant",
        ),
        (
            line({"role": "user", "content": "x" * 1_000_001}),
            "messages[0]: has 1000032 bytes, the limit is 1000000; shorten the message",
        ),
        (
            line({"role": "tool", "content": "x"}),
            "messages[0].tool_call_id: is missing in a message of a tool; name the id of the tool call that this "
            "message answers",
        ),
    ],
)
def test_the_advice_is_for_what_is_wrong_and_says_it_once(text: bytes, sentence: str) -> None:
    with pytest.raises(InvalidLine) as caught:
        parse_line(text)
    assert str(caught.value) == sentence


def test_too_many_messages_are_to_be_split(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.transfer.source.MESSAGES_MAX", 1)
    with pytest.raises(InvalidLine) as caught:
        parse_line(line({"role": "user"}, {"role": "user"}))
    assert str(caught.value) == "messages: has 2 messages, the limit is 1; make several conversations of it"
