"""What a file is, by its bytes. What its sender says of it decides only between kinds of text."""

import csv
import io
import mmap
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, cast

import msgspec
import puremagic

UNKNOWN = "application/octet-stream"
PLAIN = "text/plain"
HEAD_BYTES = 64 * 1024
CHUNK_CHARS = 64 * 1024
CONFIDENCE_MIN = 0.3
"""Of `puremagic`: a signature of three bytes."""

_BINARY = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_MEDIA_TYPE = re.compile(r"[a-z]+/[a-z0-9][a-z0-9.+-]{0,100}")
_MARKED = ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_AS_TEXT = (
    (b"%PDF-", "application/pdf"),
    (b"{\\rtf", "application/rtf"),
    (b"%!PS-", "application/postscript"),
)
"""Documents that may be text throughout."""
_AS_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_OFFICE = "application/vnd.openxmlformats-officedocument."
_IN_ZIP = (
    (b"word/document.xml", _OFFICE + "wordprocessingml.document"),
    (b"xl/workbook.xml", _OFFICE + "spreadsheetml.sheet"),
    (b"ppt/presentation.xml", _OFFICE + "presentationml.presentation"),
)
_NAMED_IN_ZIP = re.compile(rb"mimetype(application/(?:epub\+zip|vnd\.oasis\.opendocument\.[a-z-]{1,40}))")


class _Match(Protocol):
    mime_type: str
    confidence: float


def sniffed(path: Path, name: str, claimed: str) -> str:
    """The media type of the file at `path`, which its sender calls `name` and `claimed`. Blocks; raises `OSError`.

    Reads it a piece at a time. Text is `text/plain`, or JSON or CSV where it claims to be and can be read as such;
    whatever is not recognised is `application/octet-stream`.
    """
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if not head:
        return PLAIN
    encoding = next((encoding for mark, encoding in _MARKED if head.startswith(mark)), "utf-8-sig")
    if _is_text(path, encoding):
        document = next((kind for start, kind in _AS_TEXT if head.startswith(start)), None)
        return document or _kind_of_text(
            path, encoding, name.lower(), claimed.partition(";")[0].strip().lower()
        )
    return _zipped(path) if head.startswith(_AS_ZIP) else _by_signature(head)


def _pieces(path: Path, encoding: str) -> Iterator[str]:
    with path.open(encoding=encoding, newline="") as file:
        while piece := file.read(CHUNK_CHARS):
            yield piece


def _is_text(path: Path, encoding: str) -> bool:
    try:
        return not any(_BINARY.search(piece) for piece in _pieces(path, encoding))
    except UnicodeError:
        return False


def _kind_of_text(path: Path, encoding: str, name: str, claimed: str) -> str:
    if (name.endswith(".json") or claimed == "application/json") and _is_json(path):
        return "application/json"
    if (name.endswith(".csv") or claimed == "text/csv") and _is_csv(path, encoding):
        return "text/csv"
    return PLAIN


def _is_json(path: Path) -> bool:
    """Skips over the values without building them."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        view = memoryview(content)
        try:
            msgspec.json.decode(view, type=msgspec.Raw)
        except (msgspec.DecodeError, RecursionError):
            return False
        finally:
            view.release()
    return True


def _is_csv(path: Path, encoding: str) -> bool:
    """At least two columns, and quotes that are closed."""
    try:
        with path.open(encoding=encoding, newline="") as file:
            rows = csv.reader(file, strict=True)
            several = len(next(rows)) > 1
            for _ in rows:
                pass
    except (csv.Error, StopIteration):
        return False
    return several


def _zipped(path: Path) -> str:
    """Documents are known by what must be in them; names stand in an archive as they are."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if (named := _NAMED_IN_ZIP.search(content, 30, 200)) is not None:
            return named[1].decode()
        if content.find(b"[Content_Types].xml") >= 0:
            return next((kind for part, kind in _IN_ZIP if content.find(part) >= 0), "application/zip")
    return "application/zip"


def _by_signature(head: bytes) -> str:
    if head.startswith(b"\x7fELF"):
        return "application/x-executable"
    try:
        found = cast("list[_Match]", puremagic.magic_string(head))  # pyright: ignore[reportUnknownMemberType]
    except (puremagic.PureError, ValueError, IndexError, io.UnsupportedOperation):
        return UNKNOWN
    kinds = (match.mime_type for match in found if match.confidence >= CONFIDENCE_MIN)
    return next((kind for kind in kinds if _MEDIA_TYPE.fullmatch(kind)), UNKNOWN)
