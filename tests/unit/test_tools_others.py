"""clock, search and read_upload, and the box that calls tools."""

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest

from app.core.intents import ToolResult
from app.core.messages import ToolCall
from app.tools import calculator, clock, read_upload, search
from app.tools.read_upload import Upload
from app.tools.search import Hit
from app.tools.tool import Tool, ToolContext, make_tool
from app.tools.toolbox import RESULT_BYTES_MAX, ToolBox

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
CONTEXT = ToolContext("alice", "c", UUID(int=1), "key", lambda: NOON)


class Nothing(msgspec.Struct, frozen=True):
    pass


def simple(call: Any, **options: Any) -> Tool:
    return make_tool("simple", "Does something.", Nothing, call, effect="pure", **options)


async def used(tool: Tool, arguments: str = "{}", **options: Any) -> ToolResult:
    return await ToolBox([tool]).call(ToolCall("1", tool.name, arguments), CONTEXT, **options)


async def test_the_clock_tells_the_time_of_a_zone() -> None:
    assert (await used(clock.tool(), '{"timezone":"Asia/Shanghai"}')).content == (
        "2026-03-01T20:00:00+08:00, Sunday, Asia/Shanghai"
    )
    assert (await used(clock.tool())).content.startswith("2026-03-01T12:00:00+00:00")


@pytest.mark.parametrize("name", ["asia/shanghai", "Shanghai", "shanghai", "ASIA/SHANGHAI"])
async def test_the_clock_knows_zones_by_city_and_in_any_case(name: str) -> None:
    assert (await used(clock.tool(), msgspec.json.encode({"timezone": name}).decode())).content.endswith(
        "Asia/Shanghai"
    )


@pytest.mark.parametrize(
    "name", ["Beijing", "../../etc/passwd", "America", "/etc/localtime", "Asia/Shangai", "a\\u0000b"]
)
async def test_a_zone_that_is_none_is_a_clear_error(name: str) -> None:
    result = await used(clock.tool(), f'{{"timezone":"{name}"}}')
    assert result.error_class == "invalid_arguments"
    assert result.content.startswith("There is no time zone")
    if name == "Asia/Shangai":
        assert "Asia/Shanghai" in result.content


async def test_search_asks_for_the_owner_and_shows_where_it_found_something() -> None:
    asked: list[tuple[str, str, int]] = []

    async def find(owner: str, query: str, limit: int) -> list[Hit]:
        asked.append((owner, query, limit))
        return [Hit("c", "user", "the  answer\nis 42", NOON), Hit("d", "assistant", "x" * 600, NOON, "Trip")]

    result = await used(search.tool(find), '{"query":"answer","limit":2}')
    assert asked == [("alice", "answer", 2)]
    first, second = result.content.split("\n")
    assert first == "1. [2026-03-01 12:00 UTC, user, this conversation] the answer is 42"
    assert second.endswith("x…")
    assert "assistant, Trip" in second


async def test_search_says_so_when_it_finds_nothing() -> None:
    async def find(owner: str, query: str, limit: int) -> list[Hit]:
        return []

    assert "Nothing was found for 'x'" in (await used(search.tool(find), '{"query":"x"}')).content
    assert (await used(search.tool(find), '{"query":""}')).error_class == "invalid_arguments"
    assert (await used(search.tool(find), '{"query":"x","limit":99}')).error_class == "invalid_arguments"


def uploads(**files: bytes) -> Tool:
    async def read(owner: str, conversation_id: str, name: str) -> Upload | None:
        data = files.get(name) if conversation_id == "c" else None
        return None if owner != "alice" or data is None else Upload(f"{name}.txt", "text/plain", data)

    return read_upload.tool(read)


async def test_an_upload_is_read_a_page_at_a_time() -> None:
    tool = uploads(f="你好abc".encode())
    first = (await used(tool, '{"name":"f","limit":3}')).content
    assert first == "[f.txt, utf-8: characters 0-3 of 5; more from offset 3]\n你好a"
    second = (await used(tool, '{"name":"f","offset":3}')).content
    assert second == "[f.txt, utf-8: characters 3-5 of 5; this is the end]\nbc"


async def test_pages_join_without_loss_and_stay_within_the_result_limit() -> None:
    content = "汉字🙂" * 9_000
    tool, offset, read = uploads(f=content.encode()), 0, ""
    while offset < len(content):
        result = (await used(tool, msgspec.json.encode({"name": "f", "offset": offset}).decode())).content
        assert len(result.encode()) <= RESULT_BYTES_MAX
        page = result.split("\n", 1)[1]
        read += page
        offset += len(page)
    assert read == content


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        ("中文".encode("gb18030"), "中文"),
        ("中文".encode("utf-16"), "中文"),
        (b"\xef\xbb\xbfbom", "bom"),
        (b"a\r\nb", "a\nb"),
        (b"\xff caf\xe9 ", "ÿ café "),
        (b"", "empty"),
    ],
)
async def test_encodings(data: bytes, shown: str) -> None:
    assert shown in (await used(uploads(f=data), '{"name":"f"}')).content


@pytest.mark.parametrize(
    ("data", "arguments", "message"),
    [
        (b"\x89PNG\0\0", '{"name":"f"}', "not a text file"),
        (b"x" * (10 * 1024 * 1024 + 1), '{"name":"f"}', "at most 10485760"),
        (b"abc", '{"name":"f","offset":3}', "behind the end"),
        (b"abc", '{"name":"other"}', "no uploaded file 'other'"),
        (b"\xff\xfea", '{"name":"f"}', "damaged"),
    ],
)
async def test_what_cannot_be_read_says_why(data: bytes, arguments: str, message: str) -> None:
    result = await used(uploads(f=data), arguments)
    assert result.error_class == "failed"
    assert message in result.content


@pytest.mark.parametrize(
    "arguments", ["{", "[]", "null", '"x"', '{"expression":', '{"expression":[]}', '{"x":1}', "{}"]
)
async def test_arguments_that_do_not_fit_are_one_clear_sentence(arguments: str) -> None:
    result = await used(calculator.tool(), arguments)
    assert result.error_class == "invalid_arguments"
    assert result.content.startswith("The arguments of calculator")
    assert "\n" not in result.content


async def test_an_unknown_tool_names_the_known_ones() -> None:
    result = await ToolBox([clock.tool()]).call(ToolCall("1", "nope"), CONTEXT)
    assert (result.error_class, result.content) == (
        "unknown_tool",
        "There is no tool 'nope'. Tools are: clock.",
    )


async def test_a_tool_that_takes_too_long_is_cut_short() -> None:
    ended = asyncio.Event()

    async def wait(arguments: Nothing, context: ToolContext) -> str:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return ""

    result = await used(simple(wait, timeout_seconds=60), timeout_seconds=0.01)
    assert (result.error_class, result.content) == ("timeout", "simple gave no result within 0.01 seconds.")
    assert ended.is_set()


@pytest.mark.parametrize("error", [RuntimeError("secret /etc/passwd"), TimeoutError("of its own")])
async def test_a_broken_tool_shows_nothing_of_its_inside(error: Exception) -> None:
    async def fail(arguments: Nothing, context: ToolContext) -> str:
        raise error

    result = await used(simple(fail))
    assert result.error_class == "failed"
    assert "secret" not in result.content
    assert "of its own;" not in result.content.replace("a reason of its own;", "")


async def test_long_results_are_cut_between_characters_with_a_note() -> None:
    async def talk(arguments: Nothing, context: ToolContext) -> str:
        return "汉" * 10_000

    content = (await used(simple(talk))).content
    assert content.endswith("[Cut: 30000 bytes, the first 16384 are shown. Ask for less at once.]")
    assert content.count("汉") == RESULT_BYTES_MAX // 3


async def test_a_cancelled_call_is_cancelled() -> None:
    async def wait(arguments: Nothing, context: ToolContext) -> str:
        await asyncio.Event().wait()
        return ""

    task = asyncio.create_task(used(simple(wait)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_two_tools_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two tools named 'clock'"):
        ToolBox([clock.tool(), clock.tool()])


@pytest.mark.parametrize("tool", [calculator.tool(), clock.tool(), uploads(), search.tool(None)])  # type: ignore[arg-type]
def test_schemas_are_in_one_piece(tool: Tool) -> None:
    encoded = msgspec.json.encode(tool.spec.parameters).decode()
    assert tool.spec.parameters["type"] == "object"
    assert "$ref" not in encoded
    assert "$defs" not in encoded
    assert tool.spec.parameters["additionalProperties"] is False
    assert tool.effect == "pure"


def test_a_property_called_title_stays() -> None:
    class Titled(msgspec.Struct):
        title: str
        inner: list[Nothing] = []

    tool = make_tool("t", "", Titled, None, effect="once")  # type: ignore[arg-type]
    assert tool.spec.parameters["properties"] == {
        "title": {"type": "string"},
        "inner": {
            "type": "array",
            "items": {"type": "object", "properties": {}, "required": []},
            "default": [],
        },
    }
