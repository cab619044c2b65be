"""`list_files`, `read_file`, `write_file`: the files of a conversation, in the folder that its shell works in."""

import asyncio
import contextlib
import io
import os
import secrets
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from app.tools.folders import PATH_CHARS_MAX, WorkFolders, kind_of, open_file, parent_of
from app.tools.read_upload import ReadUpload, Upload, decoded, no_upload
from app.tools.tool import InvalidArguments, Tool, ToolContext, ToolError, make_tool

WRITE_BYTES_MAX = 1024 * 1024
READ_BYTES_MAX = 10 * 1024 * 1024
PAGE_BYTES_MAX = 15 * 1024
FILES_MAX = 100
LISTED_MAX = 200
SEEN_MAX = 10_000
LINES_MAX = 2_000
_DRAFT = ".minutebook-draft-"
_FULL = f"A conversation may have {FILES_MAX} files, and it has them; write to one of these."

Path_ = Annotated[
    str,
    Meta(
        description="Path in the conversation's folder, like notes/plan.md",
        min_length=1,
        max_length=PATH_CHARS_MAX,
    ),
]


class ListArguments(Struct, frozen=True, forbid_unknown_fields=True):
    pass


class ReadArguments(Struct, frozen=True, forbid_unknown_fields=True):
    path: Path_
    first_line: Annotated[int, Meta(description="Line to start at, from 1", ge=1)] = 1
    lines: Annotated[int, Meta(description="How many lines at most", ge=1, le=LINES_MAX)] = LINES_MAX
    first_character: (
        Annotated[
            int,
            Meta(description="Character to start at, from 0, instead of a line: for very long lines", ge=0),
        ]
        | None
    ) = None


class WriteArguments(Struct, frozen=True, forbid_unknown_fields=True):
    path: Path_
    content: (
        Annotated[
            str, Meta(description="The whole content; what was there is replaced", max_length=WRITE_BYTES_MAX)
        ]
        | None
    ) = None
    upload: (
        Annotated[
            str,
            Meta(
                description="Instead of content: name of an attached file, of whatever kind, to copy",
                min_length=1,
                max_length=PATH_CHARS_MAX,
            ),
        ]
        | None
    ) = None


def tools(folders: WorkFolders, read_upload: ReadUpload) -> list[Tool]:
    """The three of them, on the conversation's own folder. `write_file` also brings attached files there."""

    def folder(context: ToolContext) -> Path:
        return folders.folder(context.owner, context.conversation_id)

    async def list_files(_: ListArguments, context: ToolContext) -> str:
        return await asyncio.to_thread(listing, folder(context))

    async def read_file(arguments: ReadArguments, context: ToolContext) -> str:
        return await asyncio.to_thread(page_of, folder(context), arguments)

    async def write_file(arguments: WriteArguments, context: ToolContext) -> str:
        if (arguments.content is None) == (arguments.upload is None):
            raise InvalidArguments("write_file needs either content or upload.")
        if arguments.upload is None:
            return await asyncio.to_thread(write, folder(context), arguments.path, arguments.content or "")
        upload = await read_upload(context.owner, context.conversation_id, arguments.upload)
        if upload is None:
            raise no_upload(arguments.upload)
        return await asyncio.to_thread(save_bytes, folder(context), arguments.path, upload.data)

    return [
        make_tool(
            "list_files",
            "Lists the files of this conversation with their sizes.",
            ListArguments,
            list_files,
            effect="pure",
        ),
        make_tool(
            "read_file",
            "Reads a text file of this conversation; a long one a page at a time. For attached files use read_upload.",
            ReadArguments,
            read_file,
            effect="pure",
        ),
        make_tool(
            "write_file",
            "Writes a text file of this conversation, a new one or in place of the old one; or copies an attached file "
            "there, for the shell.",
            WriteArguments,
            write_file,
            effect="idempotent",
        ),
    ]


def listing(folder: Path) -> str:
    """At most 200 files, one a line, in order of their paths (of the first 10 000 that are found)."""
    found = sorted(islice(_files(folder), SEEN_MAX))
    if not found:
        return "This conversation has no files."
    lines = [f"{path} ({size_bytes} bytes)" for path, size_bytes in found[:LISTED_MAX]]
    if len(found) > LISTED_MAX:
        lines.append(f"[There are more; {LISTED_MAX} are shown.]")
    return "\n".join(lines)


def page_of(folder: Path, arguments: ReadArguments) -> str:
    """At most 15 KiB, headed by where one is. Raises `ToolError`."""
    path = arguments.path
    content = decoded(Upload(path, "file", _read(folder, path)))[0]
    if not content:
        return f"[{path}: the file is empty]"
    if arguments.first_character is not None:
        return _characters(path, content, arguments.first_character)
    lines = list(io.StringIO(content))
    first = arguments.first_line - 1
    if first >= len(lines):
        raise ToolError(f"first_line {first + 1} is behind the end: {path!r} has {len(lines)} lines.")
    last, size_bytes = first, 0
    for line in lines[first : first + arguments.lines]:
        size_bytes += len(line.encode())
        if size_bytes > PAGE_BYTES_MAX:
            break
        last += 1
    if last == first:
        return _characters(path, content, sum(map(len, lines[:first])))
    more = f"; more from first_line {last + 1}" if last < len(lines) else "; this is the end"
    return f"[{path}: lines {first + 1}-{last} of {len(lines)}{more}]\n{''.join(lines[first:last])}"


def write(folder: Path, path: str, content: str) -> str:
    """Put `content` there, whole or not at all, and lasting. Raises `ToolError`."""
    data = content.encode("utf-8", "replace")
    if len(data) > WRITE_BYTES_MAX:
        raise ToolError(f"A file may have {WRITE_BYTES_MAX} bytes, this content has {len(data)}; split it.")
    return save_bytes(folder, path, data)


def save_bytes(folder: Path, path: str, data: bytes) -> str:
    """As `write`, for bytes of any kind."""
    full = sum(1 for _ in islice(_files(folder), FILES_MAX)) == FILES_MAX
    try:
        with parent_of(folder, path, create=not full) as (parent, name):
            kind = kind_of(parent, name)
            _require(kind != "" or not full, _FULL)
            _require(
                kind in ("", "file"), f"{path!r} is a {kind}, so it cannot be written; use another name."
            )
            _replace(parent, name, data)
    except FileNotFoundError:  # a folder on the way, and none was made
        raise ToolError(_FULL) from None
    except OSError as error:
        raise ToolError(f"{path!r} could not be written: {error.strerror}.") from None
    return f"{path}: {len(data)} bytes written."


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise ToolError(otherwise)


def _characters(path: str, content: str, offset: int) -> str:
    if offset >= len(content):
        raise ToolError(
            f"first_character {offset} is behind the end: {path!r} has {len(content)} characters."
        )
    page = content[offset : offset + PAGE_BYTES_MAX].encode("utf-8", "replace")
    shown = page[:PAGE_BYTES_MAX].decode("utf-8", "ignore")
    end = offset + len(shown)
    more = f"; more from first_character {end}" if end < len(content) else "; this is the end"
    return f"[{path}: characters {offset}-{end} of {len(content)}{more}]\n{shown}"


def _read(folder: Path, path: str) -> bytes:
    try:
        with parent_of(folder, path) as (parent, name):
            descriptor = open_file(parent, name, path)
    except FileNotFoundError:
        raise ToolError(
            f"There is no file {path!r} in this conversation; list_files shows what there is."
        ) from None
    with os.fdopen(descriptor, "rb") as file:
        return file.read(READ_BYTES_MAX + 1)  # one too many is refused by `decoded`


def _replace(parent: int, name: str, data: bytes) -> None:
    draft = _DRAFT + secrets.token_hex(8)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(draft, flags, 0o600, dir_fd=parent), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, name, src_dir_fd=parent, dst_dir_fd=parent)
        os.fsync(parent)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(draft, dir_fd=parent)
        raise


def _files(folder: Path) -> Iterator[tuple[str, int]]:
    """Path and size of every regular file below; links are not followed, and drafts of ours are left out."""
    for below, _, names, descriptor in os.fwalk(folder, follow_symlinks=False):
        for name in names:
            if name.startswith(_DRAFT) or kind_of(descriptor, name) != "file":
                continue
            with contextlib.suppress(FileNotFoundError):
                size_bytes = os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_size
                yield os.path.relpath(os.path.join(below, name), folder), size_bytes
