"""Rows of a table as Parquet, CSV or JSON lines. Each part of an export is a whole file of its own."""

import csv
import importlib
import io
from collections.abc import Sequence
from typing import Any, BinaryIO, Literal, Protocol, TypeAlias, assert_never

import msgspec

from app.transfer.tables import Column, Kind

Form: TypeAlias = Literal["parquet", "csv", "jsonl"]
COMPRESSION = "zstd"
METADATA_KEY = b"minutebook"

_json = msgspec.json.Encoder()


class PartWriter(Protocol):
    """Writes one file. `close` writes what belongs at its end, and leaves the file itself open."""

    def write(self, rows: Sequence[Sequence[Any]]) -> None: ...

    def close(self) -> None: ...


def part_writer(form: Form, file: BinaryIO, columns: Sequence[Column], facts: bytes) -> PartWriter:
    """`facts` (JSON) say where the rows are from; formats that have a place for them carry them."""
    match form:
        case "parquet":
            return _Parquet(file, columns, facts)
        case "csv":
            return _CSV(file, columns)
        case "jsonl":
            return _JSONLines(file, columns)
    assert_never(form)


class _Parquet:
    """A row group for each `write`. The library is loaded here, because a start of the service has no use for it."""

    def __init__(self, file: BinaryIO, columns: Sequence[Column], facts: bytes) -> None:
        self._arrow: Any = importlib.import_module("pyarrow")  # it has no types
        parquet: Any = importlib.import_module("pyarrow.parquet")
        self._columns = columns
        fields = [self._arrow.field(column.name, self._type(column.kind)) for column in columns]
        self._schema = self._arrow.schema(fields, metadata={METADATA_KEY: facts})
        self._writer = parquet.ParquetWriter(file, self._schema, compression=COMPRESSION)

    def _type(self, kind: Kind) -> Any:
        match kind:
            case "text" | "id" | "json":
                return self._arrow.string()
            case "integer":
                return self._arrow.int64()
            case "number":
                return self._arrow.float64()
            case "boolean":
                return self._arrow.bool_()
            case "time":
                return self._arrow.timestamp("us", tz="UTC")
        assert_never(kind)

    def write(self, rows: Sequence[Sequence[Any]]) -> None:
        arrays = [
            self._arrow.array([_text(row[n]) if column.kind == "id" else row[n] for row in rows], field.type)
            for n, (column, field) in enumerate(zip(self._columns, self._schema, strict=True))
        ]
        self._writer.write_batch(self._arrow.record_batch(arrays, schema=self._schema))

    def close(self) -> None:
        self._writer.close()


class _CSV:
    """With a line of names; times as in JSON, an empty field where there is no value."""

    def __init__(self, file: BinaryIO, columns: Sequence[Column]) -> None:
        self._text = io.TextIOWrapper(file, "utf-8", newline="")
        self._writer = csv.writer(self._text, lineterminator="\n")
        self._kinds: list[Kind] = [column.kind for column in columns]
        self._writer.writerow([column.name for column in columns])

    def write(self, rows: Sequence[Sequence[Any]]) -> None:
        for row in rows:
            self._writer.writerow([_plain(kind, value) for kind, value in zip(self._kinds, row, strict=True)])

    def close(self) -> None:
        self._text.detach()


class _JSONLines:
    """Every column in every line."""

    def __init__(self, file: BinaryIO, columns: Sequence[Column]) -> None:
        self._file = file
        self._columns = columns

    def write(self, rows: Sequence[Sequence[Any]]) -> None:
        for row in rows:
            line = {
                column.name: msgspec.Raw(_one_line(value)) if column.kind == "json" and value else value
                for column, value in zip(self._columns, row, strict=True)
            }
            self._file.write(_json.encode(line) + b"\n")

    def close(self) -> None:
        return None


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _plain(kind: Kind, value: Any) -> Any:
    if value is None:
        return ""
    match kind:
        case "time":
            return _json.encode(value).decode().strip('"')
        case "boolean":
            return "true" if value else "false"
        case _:
            return value


def _one_line(text: str) -> bytes:
    """JSON as somebody wrote it may have line breaks, between its values only."""
    return msgspec.json.format(text.encode(), indent=-1) if "\n" in text or "\r" in text else text.encode()
