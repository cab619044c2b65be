"""`read_upload`: the text of an uploaded file, a page at a time. The reading comes in as a function."""

import asyncio
import codecs
from collections.abc import Awaitable, Callable
from typing import Annotated

from msgspec import Meta, Struct

from app.tools.tool import Tool, ToolContext, ToolError, make_tool

FILE_BYTES_MAX = 10 * 1024 * 1024
PAGE_BYTES_MAX = 15 * 1024
PAGE_CHARS = 8_000
BINARY_PROBE_BYTES = 4_096

_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_GUESSES = ("utf-8", "gb18030", "latin-1")


class Upload(Struct, frozen=True):
    """A file of the user's."""

    filename: str
    content_type: str
    data: bytes


ReadUpload = Callable[[str, str, str], Awaitable[Upload | None]]
"""Owner, conversation, and the file's stored name or file name; None if there is none that the conversation may use."""


class ReadUploadArguments(Struct, frozen=True, forbid_unknown_fields=True):
    name: Annotated[str, Meta(description="Name of the attached file", min_length=1, max_length=300)]
    offset: Annotated[int, Meta(description="Character to start at, from 0", ge=0)] = 0
    limit: Annotated[int, Meta(description="How many characters at most", ge=1, le=PAGE_CHARS)] = PAGE_CHARS


def tool(read: ReadUpload) -> Tool:
    async def read_page(arguments: ReadUploadArguments, context: ToolContext) -> str:
        upload = await read(context.owner, context.conversation_id, arguments.name)
        if upload is None:
            raise no_upload(arguments.name)
        return await asyncio.to_thread(page_of, upload, arguments.offset, arguments.limit)

    return make_tool(
        "read_upload",
        "Reads the text of a file that the user has uploaded; long files a page at a time, by offset.",
        ReadUploadArguments,
        read_page,
        effect="pure",
    )


def no_upload(name: str) -> ToolError:
    """There is none that the conversation may use."""
    return ToolError(f"There is no uploaded file {name!r}; use the name as it was given in the message.")


def page_of(upload: Upload, offset: int, limit: int) -> str:
    """At most `limit` characters and 15 KiB from character `offset`, headed by where one is. Raises `ToolError`."""
    content, encoding = decoded(upload)
    if not content:
        return f"[{upload.filename}: the file is empty]"
    if offset >= len(content):
        raise ToolError(
            f"offset {offset} is behind the end: {upload.filename!r} has {len(content)} characters."
        )
    page = content[offset : offset + limit]
    page = page.encode("utf-8", "replace")[:PAGE_BYTES_MAX].decode("utf-8", "ignore")
    end = offset + len(page)
    more = f"; more from offset {end}" if end < len(content) else "; this is the end"
    return f"[{upload.filename}, {encoding}: characters {offset}-{end} of {len(content)}{more}]\n{page}"


def decoded(upload: Upload) -> tuple[str, str]:
    """The text and the encoding it was taken for. Raises `ToolError` for a file that is too large or no text."""
    size_bytes = len(upload.data)
    if size_bytes > FILE_BYTES_MAX:
        raise ToolError(f"{upload.filename!r} has {size_bytes} bytes; at most {FILE_BYTES_MAX} can be read.")
    marked = next((encoding for mark, encoding in _MARKS if upload.data.startswith(mark)), None)
    if marked is None and b"\0" in upload.data[:BINARY_PROBE_BYTES]:
        raise ToolError(
            f"{upload.filename!r} ({upload.content_type}) is not a text file, so it cannot be read."
        )
    for encoding in (marked,) if marked else _GUESSES:
        try:
            return upload.data.decode(encoding).replace("\r\n", "\n"), encoding
        except UnicodeDecodeError:
            continue
    raise ToolError(f"{upload.filename!r} claims to be {marked} but is damaged, so it cannot be read.")
