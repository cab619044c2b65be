"""The files of a conversation: what is read and written, and that no path leads out of the folder."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from app.core.intents import ToolResult
from app.core.messages import ToolCall
from app.tools import files
from app.tools.folders import WorkFolders
from app.tools.read_upload import Upload
from app.tools.tool import ToolContext
from app.tools.toolbox import RESULT_BYTES_MAX, ToolBox


async def attached(owner: str, conversation_id: str, name: str) -> Upload | None:
    mine = (owner, conversation_id, name) == ("ana", "c", "image.png")
    return Upload("image.png", "image/png", b"\x89PNG\0\0") if mine else None


class Desk:
    """The file tools, and the folder behind them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = WorkFolders(root).folder("ana", "c")
        self._box = ToolBox(files.tools(WorkFolders(root), attached))

    async def use(
        self, name: str, owner: str = "ana", conversation_id: str = "c", **arguments: Any
    ) -> ToolResult:
        context = ToolContext(owner, conversation_id, UUID(int=1), "key", lambda: datetime.now(UTC))
        return await self._box.call(ToolCall("1", name, json.dumps(arguments)), context)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "work")


async def test_what_is_written_is_listed_and_read(desk: Desk) -> None:
    assert (await desk.use("list_files")).content == "This conversation has no files."
    written = await desk.use("write_file", path="notes/plan.md", content="eins\nzwei\n你好\n")
    assert written.content == "notes/plan.md: 17 bytes written."
    await desk.use("write_file", path="./a.txt", content="")
    assert (await desk.use("list_files")).content == "a.txt (0 bytes)\nnotes/plan.md (17 bytes)"
    assert (await desk.use("read_file", path="notes//plan.md")).content == (
        "[notes/plan.md: lines 1-3 of 3; this is the end]\neins\nzwei\n你好\n"
    ).replace("notes/plan.md", "notes//plan.md")
    assert (await desk.use("read_file", path="a.txt")).content == "[a.txt: the file is empty]"


async def test_an_attached_file_is_copied_as_it_is(desk: Desk) -> None:
    copied = await desk.use("write_file", path="in/image.png", upload="image.png")
    assert copied.content == "in/image.png: 6 bytes written."
    assert (desk.folder / "in" / "image.png").read_bytes() == b"\x89PNG\0\0"
    other = await desk.use("write_file", conversation_id="d", path="image.png", upload="image.png")
    assert "no uploaded file 'image.png'" in other.content
    for arguments in ({"path": "a"}, {"path": "a", "content": "x", "upload": "image.png"}):
        assert "either content or upload" in (await desk.use("write_file", **arguments)).content
    assert "no path within" in (await desk.use("write_file", path="../a", upload="image.png")).content


async def test_each_conversation_has_files_of_its_own(desk: Desk) -> None:
    await desk.use("write_file", path="a", content="mine")
    for owner, conversation_id in (("ana", "d"), ("bob", "c"), ("ana:c", ""), ("an", "a:c")):
        there = await desk.use("list_files", owner, conversation_id)
        assert there.content == "This conversation has no files."
    assert desk.folder.stat().st_mode & 0o777 == 0o700
    assert (desk.folder / "a").stat().st_mode & 0o777 == 0o600


async def test_writing_again_replaces_the_whole_and_leaves_nothing_else(desk: Desk) -> None:
    for _ in range(2):
        await desk.use("write_file", path="a", content="long content")
        await desk.use("write_file", path="a", content="short")
    assert (desk.folder / "a").read_text() == "short"
    assert os.listdir(desk.folder) == ["a"]


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../x", "a/../../x", "a/..", ".", "/", "a\0b", "x" * 201, "a/" * 11 + "b"]
)
@pytest.mark.parametrize("tool", ["read_file", "write_file"])
async def test_a_path_that_leads_elsewhere_is_refused(desk: Desk, tool: str, path: str) -> None:
    content = {"content": "x"} if tool == "write_file" else {}
    assert (await desk.use(tool, path=path, **content)).error_class == "invalid_arguments"
    assert os.listdir(desk.folder) == []


async def test_no_link_is_followed(desk: Desk, tmp_path: Path) -> None:
    """Neither at the end of a path nor on the way (O_NOFOLLOW at both places)."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    (desk.folder / "link").symlink_to(outside / "secret")
    (desk.folder / "way").symlink_to(outside)
    assert "links are not followed" in (await desk.use("read_file", path="link")).content
    assert "is not a folder" in (await desk.use("read_file", path="way/secret")).content
    assert "is a link" in (await desk.use("write_file", path="link", content="x")).content
    assert "is not a folder" in (await desk.use("write_file", path="way/new", content="x")).content
    assert (await desk.use("list_files")).content == "This conversation has no files."
    assert (outside / "secret").read_text() == "secret"
    assert os.listdir(outside) == ["secret"]


async def test_what_is_no_file_is_not_waited_for(desk: Desk) -> None:
    os.mkfifo(desk.folder / "pipe")
    (desk.folder / "folder").mkdir()
    assert "not a file" in (await desk.use("read_file", path="pipe")).content
    assert "not a file" in (await desk.use("read_file", path="folder")).content
    assert "is a folder" in (await desk.use("write_file", path="folder", content="x")).content
    assert "is a device" in (await desk.use("write_file", path="pipe", content="x")).content


async def test_long_files_are_read_by_lines_without_loss(desk: Desk) -> None:
    content = "".join(f"line {number} 汉字\x0c\u2028\n" for number in range(1, 3_000))
    await desk.use("write_file", path="long", content=content)
    read, first = "", 1
    while True:
        result = (await desk.use("read_file", path="long", first_line=first)).content
        assert len(result.encode()) <= RESULT_BYTES_MAX
        head, _, page = result.partition("\n")
        read += page
        if "this is the end" in head:
            break
        first = int(head.rpartition(" ")[2].rstrip("]"))
    assert read == content
    two = await desk.use("read_file", path="long", first_line=5, lines=2)
    assert two.content.startswith("[long: lines 5-6 of 2999; more from first_line 7]\nline 5 ")
    behind = await desk.use("read_file", path="long", first_line=3_000)
    assert behind.content == "first_line 3000 is behind the end: 'long' has 2999 lines."


async def test_a_line_longer_than_a_page_is_read_by_characters(desk: Desk) -> None:
    content = "first\n" + "汉字🙂" * 9_000
    await desk.use("write_file", path="wide", content=content)
    read, result = "first\n", (await desk.use("read_file", path="wide", first_line=2)).content
    while True:
        assert len(result.encode()) <= RESULT_BYTES_MAX
        head, _, page = result.partition("\n")
        read += page
        if "this is the end" in head:
            break
        offset = int(head.rpartition(" ")[2].rstrip("]"))
        result = (await desk.use("read_file", path="wide", first_character=offset)).content
    assert read == content
    assert "behind the end" in (await desk.use("read_file", path="wide", first_character=99_999)).content


async def test_limits_are_told(desk: Desk) -> None:
    large = await desk.use("write_file", path="large", content="汉" * 400_000)
    assert large.content == "A file may have 1048576 bytes, this content has 1200000; split it."
    for number in range(files.FILES_MAX):
        assert (await desk.use("write_file", path=f"{number % 7}/{number}", content="x")).error_class is None
    for path in ("one-more", "new/one-more"):
        assert "may have 100 files" in (await desk.use("write_file", path=path, content="x")).content
    assert (await desk.use("write_file", path="0/0", content="still")).error_class is None
    assert not (desk.folder / "new").exists()


async def test_what_is_not_text_is_not_read(desk: Desk) -> None:
    (desk.folder / "image").write_bytes(b"\x89PNG\0\0")
    (desk.folder / "huge").write_bytes(b"x" * (files.READ_BYTES_MAX + 1))
    assert "is not a text file" in (await desk.use("read_file", path="image")).content
    assert "can be read" in (await desk.use("read_file", path="huge")).content
    assert "no file 'none/x'" in (await desk.use("read_file", path="none/x")).content


def test_writing_may_be_done_again_and_reading_too(tmp_path: Path) -> None:
    effects = {tool.name: tool.effect for tool in files.tools(WorkFolders(tmp_path), attached)}
    assert effects == {"list_files": "pure", "read_file": "pure", "write_file": "idempotent"}
