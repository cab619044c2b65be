"""What is said of input that cannot be decoded: every pattern of the decoder, in both languages."""

import re
from datetime import datetime
from enum import Enum
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
import pytest
from msgspec import Meta

from app.api import errors, socket_loop
from app.api.sockets import FrameError
from app.api.wrong_input import members, told, told_of_parameter, unreadable
from app.core import streams
from app.core.reasons import reason_in
from app.core.texts import Locale
from app.log.errors import HoleInLog, IdempotencyMismatch, PayloadTooLarge


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Part(msgspec.Struct, forbid_unknown_fields=True):
    role: Literal["user", "tool"] = "user"
    colour: Colour | None = None


class Whole(msgspec.Struct):
    name: Annotated[str, Meta(min_length=2, max_length=4)]
    count: Annotated[int, Meta(ge=1)] = 1
    share: Annotated[float, Meta(le=0.5)] = 0
    word: Annotated[str, Meta(pattern="^a")] = "a"
    pair: tuple[int, int] = (1, 2)
    id: UUID | None = None
    at: datetime | None = None
    due: Annotated[datetime, Meta(tz=True)] | None = None
    parts: list[Part] = []
    by_name: dict[str, Part] = {}
    by_role: dict[Literal["user", "tool"], int] = {}


@pytest.mark.parametrize(
    ("given", "english", "chinese"),
    [
        ({}, "Object missing required field `name`", "缺少必填字段 `name`"),
        ({"name": 7}, "name: Expected `str`, got `int`", "name：应为 `str`，实为 `int`"),
        ({"name": "a"}, "name: Expected `str` of length >= 2", "name：应为长度 >= 2 的 `str`"),
        ({"name": "ab", "count": 0}, "count: Expected `int` >= 1", "count：应为 >= 1 的 `int`"),
        ({"name": "ab", "share": 1.5}, "share: Expected `float` <= 0.5", "share：应为 <= 0.5 的 `float`"),
        (
            {"name": "ab", "word": "b"},
            "word: Expected `str` matching regex '^a'",
            "word：应为匹配正则表达式 '^a' 的 `str`",
        ),
        (
            {"name": "ab", "pair": [1]},
            "pair: Expected `array` of length 2, got 1",
            "pair：应为长度 2 的 `array`，实为 1",
        ),
        ({"name": "ab", "id": "x"}, "id: Invalid UUID", "id：不是有效的 UUID"),
        (
            {"name": "ab", "at": "x"},
            "at: Invalid RFC3339 encoded datetime",
            "at：不是有效的 RFC 3339 datetime",
        ),
        (
            {"name": "ab", "due": "2026-01-31T09:00:00"},
            "due: Expected `datetime` with a timezone component",
            "due：应为带时区的 `datetime`",
        ),
        (
            {"name": "ab", "parts": [{"role": "king"}]},
            "parts[0].role: Invalid enum value 'king'; known are: user, tool",
            "parts[0].role：无效的值 'king'；可用值：user, tool",
        ),
        (
            {"name": "ab", "by_name": {"x": {"colour": "grey"}}},
            "by_name[...].colour: Invalid enum value 'grey'; known are: red, blue",
            "by_name[...].colour：无效的值 'grey'；可用值：red, blue",
        ),
        (
            {"name": "ab", "by_role": {"king": 1}},
            "by_role: Invalid enum value 'king'",
            "by_role：无效的值 'king'",
        ),
        (
            {"name": "ab", "parts": [{"foo": 1}]},
            "parts[0]: Object contains unknown field `foo`",
            "parts[0]：含有未知字段 `foo`",
        ),
    ],
)
def test_what_the_decoder_refuses_is_told_with_its_place_in_both_languages(
    given: dict[str, Any], english: str, chinese: str
) -> None:
    with pytest.raises(msgspec.ValidationError) as refused:
        msgspec.convert(given, Whole)
    assert told(str(refused.value), "en", Whole) == english
    assert told(str(refused.value), "zh", Whole) == chinese


def test_a_pattern_that_nobody_knows_stays_as_it_is() -> None:
    assert told("Something new - at `$.name`", "zh", Whole) == "name：Something new"
    assert reason_in("Bad minutes", "zh") == "Bad minutes"


@pytest.mark.parametrize(
    ("reason", "english", "chinese"),
    [
        ("Bad minute", "bad minute", "“分”无效"),
        ("Bad day-of-week", "bad day of week", "“星期”无效"),
        ("4 fields", "4 fields", "共 4 个字段"),
        ("more than 200 characters", "more than 200 characters", "超过 200 个字符"),
        ("not understood", "not understood", "无法理解"),
    ],
)
def test_what_is_wrong_with_a_cron_expression_is_told_in_both_languages(
    reason: str, english: str, chinese: str
) -> None:
    assert (reason_in(reason, "en"), reason_in(reason, "zh")) == (english, chinese)


@pytest.mark.parametrize(
    ("message", "given", "expected", "english", "chinese"),
    [
        ("Expected `int`, got `str`", "abc", int, "limit='abc': Expected `int`", "limit='abc'：应为 `int`"),
        (
            "Expected `int | null`, got `str`",
            "abc",
            int | None,
            "limit='abc': Expected `int`",
            "limit='abc'：应为 `int`",
        ),
        ("Expected `int` >= 1", "0", int, "limit='0': Expected `int` >= 1", "limit='0'：应为 >= 1 的 `int`"),
        (
            "Invalid enum value 'a",
            "a - b",
            Literal["x", "y"] | Literal["z"] | None,
            "limit='a - b' is none of x, y, z",
            "limit='a - b' 不在可用值之列：x, y, z",
        ),
        (
            "Expected `str` of length <= 200",
            "x" * 201,
            str,
            f"limit='{'x' * 39}…': Expected `str` of length <= 200",
            f"limit='{'x' * 39}…'：应为长度 <= 200 的 `str`",
        ),
        (
            "Expected `int`, got `str`",
            None,
            int,
            "limit: Expected `int`, got `str`",
            "limit：应为 `int`，实为 `str`",
        ),
    ],
)
def test_a_parameter_is_told_with_its_value_and_what_it_could_be(
    message: str, given: str | None, expected: Any, english: str, chinese: str
) -> None:
    assert told_of_parameter("limit", message, "en", given, expected) == english
    assert told_of_parameter("limit", message, "zh", given, expected) == chinese


def test_the_words_of_a_place_are_those_of_its_type_alone() -> None:
    assert members(Whole, ".parts[3].role") == ("user", "tool")
    assert members(list[Part] | Part, "[0].colour") == ("red", "blue")
    assert members(Whole, ".name") == members(Whole, ".nothing.there") == members(Any, ".x") == ()


SENTENCES = [
    ('{"a":', "frame is not valid JSON: Input data was truncated.", "不是有效的 JSON：内容不完整。"),
    ('{"a":1,}', "trailing comma in object (byte 7)", "第 7 字节处有误"),
    ('{"a":"\\ud800"}', "half of a character: \\ud800 without", "含有半个字符：\\ud800 缺少"),
    ('{"a":"\\ud83d and"}', "half of a character: \\ud83d without", "含有半个字符：\\ud83d 缺少"),
    ('{"a":"\\udc00"}', "half of a character: \\udc00 without", "含有半个字符：\\udc00 缺少"),
    ('{"a":"\\\\ud800', "Input data was truncated", "内容不完整"),
    ('{"a":"\\ud83d\\ude00', "Input data was truncated", "内容不完整"),
    ("[" * 5_000, "cannot be read: it is nested too deeply.", "嵌套层数过多"),
    ("", "in a text frame, not a binary one", "文本帧"),
    ("[]", "has to be a JSON object with a type, which is one of: part.", "必须是带有 type 的 JSON 对象"),
    ("{}", "has to be a JSON object with a type", "必须是带有 type 的 JSON 对象"),
    ('{"type":null}', "has to be a JSON object with a type", "必须是带有 type 的 JSON 对象"),
    ('{"type":"king"}', "Unknown frame type 'king'; known are: part.", "未知的消息类型 'king'"),
    (
        '{"type":"part","role":"king"}',
        "This part frame is not valid: role: Invalid enum value 'king'; known are: user, tool",
        "该 part 消息无效：role：无效的值 'king'；可用值：user, tool",
    ),
]


class Frame(msgspec.Struct):
    role: Literal["user", "tool"]


@pytest.mark.parametrize(("sent", "english", "chinese"), SENTENCES)
def test_a_frame_that_cannot_be_used_is_answered_with_the_true_reason(
    sent: str, english: str, chinese: str
) -> None:
    expected: list[tuple[Locale, str]] = [("en", english), ("zh", chinese)]
    for locale, part in expected:
        with pytest.raises(FrameError) as refused:
            socket_loop.decoded(sent, {"part": Frame}, locale)
        assert part in str(refused.value)


def test_what_goes_wrong_inside_the_log_is_told_without_internals() -> None:
    """Guard: nothing of what the log's errors say in English goes to a client."""
    for error in (PayloadTooLarge("message.received", 2_000_000, 1_048_576), IdempotencyMismatch("s", "k")):
        assert errors.sentence(error, "en") != str(error)
        assert re.search(r"[\u4e00-\u9fff]{4}", errors.sentence(error, "zh") or "")
    assert "1048576" in (errors.sentence(PayloadTooLarge("x", 2_000_000, 1_048_576), "zh") or "")
    hole = HoleInLog("conversation/ana/talk", 1, 3)
    assert socket_loop.sentence_of(hole, "zh", "socket").startswith("服务器内部错误")


def test_a_body_that_is_not_utf8_is_told_so() -> None:
    with pytest.raises(UnicodeDecodeError) as refused:
        msgspec.json.decode(b'"\xff"')
    told_of_it = unreadable(refused.value, b'"\xff"', "body", "en")
    assert told_of_it == "The body cannot be read: it is not UTF-8."
    assert unreadable(refused.value, b'"\xff"', "body", "zh") == "无法读取请求正文：不是 UTF-8 编码。"


def test_a_conversation_id_that_cannot_be_is_told_under_its_name_in_both_languages() -> None:
    with pytest.raises(streams.InvalidConversationId, match="conversation_id has to be 1-200 printable"):
        streams.conversation("ana", "a/b")
    with pytest.raises(streams.InvalidConversationId) as refused:
        streams.conversation("ana", "x" * 201, name="session_id")
    assert str(refused.value).endswith(f"this one has 201: '{'x' * 40}…'.")
    assert refused.value.sentence("zh").startswith("session_id 须为 1-200 个可打印字符")
