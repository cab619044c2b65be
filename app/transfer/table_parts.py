"""The folder of an export: whole part files, and a manifest that says where they are from and how far they go.

    part-000000.parquet, part-000001.parquet, …    written beside under another name, then renamed: whole or not there
    _export.json                                   the manifest, renamed after each part; readers of data sets skip it

A part ends with the row that makes it full, so the same rows always make the same parts: a process that is killed loses
its unfinished part, and the next one writes that part again from the last row of the part before.
"""

import fcntl
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import msgspec

from app.transfer.table_formats import Form, part_writer
from app.transfer.table_reading import Place, Positions, Row, Rows, Span
from app.transfer.tables import Column

MANIFEST = "_export.json"
PART_ROWS_MAX = 200_000
PART_BYTES_MAX = 256 * 1024 * 1024
GROUP_ROWS_MAX = 20_000
GROUP_BYTES_MAX = 16 * 1024 * 1024
"""What is held in memory before it is written, by its texts. In Parquet it is a row group."""
VALUE_BYTES = 16
"""What a value that is no text counts."""

_encoder = msgspec.json.Encoder()


class ExportRefused(Exception):
    """The folder cannot take this export."""


class Manifest(msgspec.Struct, frozen=True):
    """What an export is of, and how far it is. `log` is the epoch of the log, `views` the versions of the views that it
    reads, `positions` the place in the log that all of its rows belong to."""

    subject: str
    format: Form
    span: Span
    log: str
    views: dict[str, int]
    columns: tuple[str, ...]
    positions: Positions
    parts: int = 0
    rows: int = 0
    last: Place | None = None
    complete: bool = False

    def differs_from(self, other: "Manifest") -> str | None:
        """In what the two are not of the same export; positions aside."""
        for field in ("subject", "format", "span", "log", "views", "columns"):
            if getattr(self, field) != getattr(other, field):
                return field
        return None

    def facts(self) -> bytes:
        """What each part says of itself, as JSON."""
        return _encoder.encode(
            {
                "subject": self.subject,
                "positions": self.positions,
                "log": self.log,
                "since": self.span.since,
                "until": self.span.until,
            }
        )


class Folder:
    """The files of one export. Use it under `locked`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def locked(self) -> Generator[None]:
        """Makes the folder, and holds it until the process ends. Raises `ExportRefused` where another one has it."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise ExportRefused(f"{self.path} cannot be used as a folder: {error.strerror}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise ExportRefused(f"another export is writing into {self.path}") from None
        finally:
            os.close(descriptor)

    def manifest(self) -> Manifest | None:
        """None: the folder is empty. Raises `ExportRefused` where it holds something else, or parts are missing."""
        try:
            found = msgspec.json.decode((self.path / MANIFEST).read_bytes(), type=Manifest)
        except FileNotFoundError:
            strange = [one.name for one in self.path.iterdir() if one.name != _unfinished(MANIFEST)]
            if strange:
                raise ExportRefused(
                    f"{self.path} is not empty and holds no export (for example {min(strange)!r}); "
                    "name another folder with --output"
                ) from None
            return None
        except msgspec.DecodeError as error:
            raise ExportRefused(
                f"{self.path / MANIFEST} cannot be read: {error}; remove the folder, or name another with --output"
            ) from None
        for number in range(found.parts):
            part = self.path / part_name(number, found.format)
            if not part.exists():
                raise ExportRefused(
                    f"{part} is missing; remove the folder to export anew, or name another with --output"
                )
        return found

    def write_manifest(self, manifest: Manifest) -> None:
        with self.replacing(MANIFEST) as file:
            file.write(msgspec.json.format(_encoder.encode(manifest)) + b"\n")

    @contextmanager
    def replacing(self, name: str) -> Generator[BinaryIO]:
        """A file of this name once it is whole and on disk; it is not there before."""
        unfinished = self.path / _unfinished(name)
        with unfinished.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(self.path / name)
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_parts(
    folder: Folder,
    begun: Manifest,
    columns: Sequence[Column],
    rows: Rows,
    written: Callable[[Manifest], None],
) -> Manifest:
    """Every row goes into the parts behind those that are there; `written` is told of each. Without any row at all
    there is one part, which has the columns. Holds one row group in memory, never more."""
    manifest = begun
    for first in rows:
        manifest = _write_part(folder, manifest, columns, chain((first,), rows))
        written(manifest)
    if not manifest.parts:
        manifest = _write_part(folder, manifest, columns, iter(()))
    manifest = msgspec.structs.replace(manifest, complete=True)
    folder.write_manifest(manifest)
    return manifest


def part_name(number: int, form: Form) -> str:
    return f"part-{number:06}.{form}"


def _write_part(folder: Folder, manifest: Manifest, columns: Sequence[Column], rows: Rows) -> Manifest:
    """Takes rows until the part is full. The manifest that counts it is written behind it."""
    count, last = 0, manifest.last
    with (
        folder.replacing(part_name(manifest.parts, manifest.format)) as file,
        closing(part_writer(manifest.format, file, columns, manifest.facts())) as writer,
    ):
        for group in _groups(rows):
            writer.write([row for _, row in group])
            count += len(group)
            last = group[-1][0]
    manifest = msgspec.structs.replace(
        manifest, parts=manifest.parts + 1, rows=manifest.rows + count, last=last
    )
    folder.write_manifest(manifest)
    return manifest


def _groups(rows: Rows) -> Iterator[list[tuple[Place, Row]]]:
    """What is written at once, up to the end of the part."""
    size_bytes = group_bytes = 0
    group: list[tuple[Place, Row]] = []
    for count, (place, row) in enumerate(rows, start=1):
        row_bytes = sum(len(value) if isinstance(value, str) else VALUE_BYTES for value in row)
        group.append((place, row))
        size_bytes += row_bytes
        group_bytes += row_bytes
        full = count >= PART_ROWS_MAX or size_bytes >= PART_BYTES_MAX
        if full or len(group) >= GROUP_ROWS_MAX or group_bytes >= GROUP_BYTES_MAX:
            yield group
            group, group_bytes = [], 0
        if full:
            return
    if group:
        yield group


def _unfinished(name: str) -> str:
    return f".{name}.unfinished"
