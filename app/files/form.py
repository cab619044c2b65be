"""A multipart form as it comes: one file, which is written away piece by piece, and a few short fields.

Nothing is read ahead and nothing is kept but the piece at hand. The limit counts while reading: whoever sends more is
told so at once, not after the last byte.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import ClassVar, TypeVar

import msgspec
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from app.core.reasons import Explained, Reason
from app.files.store import Draft

FILE_BYTES_MAX = 10 * 1024 * 1024
BESIDES_BYTES_MAX = 64 * 1024
"""Everything that is not the file: boundaries, headers, other fields."""
FIELD_BYTES_MAX = 4 * 1024
PARTS_MAX = 16
HEADERS_MAX = 8
HEADER_BYTES_MAX = 4 * 1024
PIECE_SECONDS_MAX = 60.0
FORM_SECONDS_MAX = 900.0
FILE_FIELD = "file"

A = TypeVar("A")
R = TypeVar("R")


class FormRefused(Explained):
    """Nothing is stored. `status` is that of HTTP."""

    status: ClassVar[int] = 400


class FileTooLarge(FormRefused):
    """Over 10 MB, or the form besides it over 64 KiB."""

    key = "upload_too_large"
    status = 413


class FileMissing(FormRefused):
    """No part of that name with a file name."""

    key = "upload_missing"


class SeveralFiles(FormRefused):
    """One file a form."""

    key = "upload_several"


class FormBroken(FormRefused):
    """Not a multipart form, or one that ends too early. Value: `reason` (`Reason`)."""

    key = "upload_broken"


class FormTooSlow(FormRefused):
    """Value: `seconds`."""

    key = "upload_slow"


class ReceivedFile(msgspec.Struct, frozen=True):
    """`filename` and `claimed` (a media type) are the sender's words. The draft is its receiver's to close."""

    draft: Draft
    filename: str
    claimed: str
    fields: dict[str, str]


class _Form:
    """What of the form has come so far. `feed` writes, so it belongs into a thread."""

    def __init__(self, begin: Callable[[], Draft], boundary: bytes, bytes_max: int) -> None:
        self._begin = begin
        self._bytes_max = bytes_max
        self._parts = 0
        self._name = ""
        self._in_file = False
        self._header = (bytearray(), bytearray())
        self._headers: dict[str, bytes] = {}
        self._value = bytearray()
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin_part,
                "on_header_field": lambda data, start, end: self._header[0].extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._header[1].extend(data[start:end]),
                "on_header_end": self._end_header,
                "on_headers_finished": self._enter_part,
                "on_part_data": self._add,
                "on_part_end": self._end_part,
                "on_end": self._end,
            },
            max_header_count=HEADERS_MAX,
            max_header_size=HEADER_BYTES_MAX,
        )
        self.draft: Draft | None = None
        self.filename = ""
        self.claimed = ""
        self.fields: dict[str, str] = {}
        self.complete = False

    def feed(self, data: bytes) -> None:
        """Raises `FormRefused`, `OSError`."""
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise FormBroken(reason=Reason("upload_unreadable", {"said": str(error)[:200]})) from None

    def _begin_part(self) -> None:
        self._parts += 1
        if self._parts > PARTS_MAX:
            raise FormBroken(reason=Reason("upload_parts", {"limit": PARTS_MAX}))
        self._headers.clear()
        self._value.clear()

    def _end_header(self) -> None:
        name, value = self._header
        self._headers[name.decode("latin-1").lower()] = bytes(value)
        name.clear()
        value.clear()

    def _enter_part(self) -> None:
        _, options = parse_options_header(self._headers.get("content-disposition", b""))
        if b"name" not in options:
            raise FormBroken(reason=Reason("upload_nameless"))
        self._name = options[b"name"].decode("utf-8", "replace")
        self._in_file = self._name == FILE_FIELD and b"filename" in options
        if self._in_file:
            if self.draft is not None:
                raise SeveralFiles
            self.draft = self._begin()
            self.filename = options[b"filename"].decode("utf-8", "replace")
            self.claimed = self._headers.get("content-type", b"").decode("latin-1")

    def _add(self, data: bytes, start: int, end: int) -> None:
        if self._in_file and self.draft is not None:
            if self.draft.size_bytes + end - start > self._bytes_max:
                raise FileTooLarge
            self.draft.write(data[start:end])
            return
        if len(self._value) + end - start > FIELD_BYTES_MAX:
            raise FormBroken(
                reason=Reason("upload_field_long", {"name": self._name[:40], "limit": FIELD_BYTES_MAX})
            )
        self._value += data[start:end]

    def _end_part(self) -> None:
        if not self._in_file:
            try:
                self.fields[self._name] = self._value.decode()
            except UnicodeDecodeError:
                raise FormBroken(reason=Reason("upload_field_not_utf8", {"name": self._name[:40]})) from None

    def _end(self) -> None:
        self.complete = True


async def receive(
    pieces: AsyncIterator[bytes],
    boundary: bytes,
    begin: Callable[[], Draft],
    *,
    file_bytes_max: int = FILE_BYTES_MAX,
    piece_seconds: float = PIECE_SECONDS_MAX,
    form_seconds: float = FORM_SECONDS_MAX,
) -> ReceivedFile:
    """Read the form to its end. Raises `FormRefused` and `OSError`; the draft is closed then, and nothing is left.

    The next piece has to come within 60 s, the whole form within 15 minutes.
    """
    form: _Form | None = None
    try:
        form = _Form(begin, boundary, file_bytes_max)
        async with asyncio.timeout(form_seconds):
            return await _read(form, pieces, file_bytes_max + BESIDES_BYTES_MAX, piece_seconds)
    except BaseException as error:
        if form is not None and form.draft is not None:
            form.draft.close()
        match error:
            case TimeoutError():
                raise FormTooSlow(seconds=f"{form_seconds:g}") from None
            case FormParserError():
                raise FormBroken(reason=Reason("upload_unreadable", {"said": str(error)[:200]})) from None
            case _:
                raise


async def _read(
    form: _Form, pieces: AsyncIterator[bytes], bytes_max: int, piece_seconds: float
) -> ReceivedFile:
    received_bytes = 0
    while piece := await _next(pieces, piece_seconds):
        received_bytes += len(piece)
        if received_bytes > bytes_max:
            raise FileTooLarge
        await in_thread(form.feed, piece)
    if not form.complete:
        raise FormBroken(reason=Reason("upload_cut"))
    if form.draft is None:
        raise FileMissing
    return ReceivedFile(form.draft, form.filename, form.claimed, form.fields)


async def in_thread(call: Callable[[A], R], argument: A) -> R:
    """Call it in a thread, and wait for its end also where the caller is cancelled: threads go on all the same."""
    work = asyncio.ensure_future(asyncio.to_thread(call, argument))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait({work})
        raise


async def _next(pieces: AsyncIterator[bytes], seconds: float) -> bytes:
    """The next piece that is not empty; empty at the end."""
    while True:
        try:
            async with asyncio.timeout(seconds):
                piece = await anext(pieces, None)
        except TimeoutError:
            raise FormTooSlow(seconds=f"{seconds:g}") from None
        if piece is None:
            return b""
        if piece:
            return piece
