"""Rows as Parquet, CSV and JSON lines, and where a part of an export ends."""

import csv
import io
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import msgspec
import pyarrow.parquet as pq
import pytest

from app.transfer import table_parts
from app.transfer.table_formats import Form, part_writer
from app.transfer.table_parts import Folder, Manifest, write_parts
from app.transfer.table_reading import Place, Span
from app.transfer.tables import SUBJECTS, Column, columns_of


class Line(msgspec.Struct):
    id: UUID
    at: datetime
    good: bool
    count: int
    share: float | None
    word: Literal["a", "b"] | None
    more: dict[str, int]


COLUMNS = columns_of(Line)
AT = datetime(2026, 1, 2, 3, 4, 5, 600, tzinfo=UTC)
ROWS = [
    (UUID(int=1), AT, True, 2**40, 0.5, 'said "a,\nb"', '{"x": 1}'),
    (UUID(int=2), AT, False, 0, None, None, '{\n  "x": "中\\n"\r\n}'),
]


def written(form: Form, rows: Sequence[Sequence[Any]]) -> io.BytesIO:
    file = io.BytesIO()
    writer = part_writer(form, file, COLUMNS, b"{}")
    writer.write(rows)
    writer.close()
    file.seek(0)
    return file


def test_the_kind_of_a_column_follows_from_its_field() -> None:
    assert [column.kind for column in COLUMNS] == [
        "id",
        "time",
        "boolean",
        "integer",
        "number",
        "text",
        "json",
    ]
    assert Column("payload", "json") in SUBJECTS["events"].columns


def test_parquet_keeps_types_and_missing_values() -> None:
    table = pq.read_table(written("parquet", ROWS))
    types = ["string", "timestamp[us, tz=UTC]", "bool", "int64", "double", "string", "string"]
    assert [str(field.type) for field in table.schema] == types
    assert [tuple(row.values()) for row in table.to_pylist()] == [(str(row[0]), *row[1:]) for row in ROWS]


def test_csv_has_a_line_of_names_and_quotes_what_it_has_to() -> None:
    names, *rows = csv.reader(io.StringIO(written("csv", ROWS).read().decode(), newline=""))
    assert names == [column.name for column in COLUMNS]
    assert rows[0] == [
        str(UUID(int=1)),
        "2026-01-02T03:04:05.000600Z",
        "true",
        str(2**40),
        "0.5",
        *ROWS[0][5:],
    ]
    assert rows[1][2:6] == ["false", "0", "", ""]


def test_json_that_somebody_wrote_on_several_lines_is_one_line() -> None:
    lines = written("jsonl", ROWS).read().splitlines()
    assert len(lines) == 2
    assert b'"more":{"x": 1}' in lines[0]
    second = msgspec.json.decode(lines[1])
    assert (second["more"], second["share"], second["at"]) == (
        {"x": "中\n"},
        None,
        "2026-01-02T03:04:05.000600Z",
    )


@pytest.mark.parametrize(
    ("rows_max", "bytes_max", "parts"), [(4, 10**9, [4, 4, 2]), (5, 10**9, [5, 5]), (9, 64, [4, 4, 2])]
)
def test_a_part_ends_with_the_row_that_makes_it_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows_max: int, bytes_max: int, parts: list[int]
) -> None:
    monkeypatch.setattr(table_parts, "PART_ROWS_MAX", rows_max)
    monkeypatch.setattr(table_parts, "PART_BYTES_MAX", bytes_max)
    rows = ((Place(0, (str(n),)), ("x" * 16,)) for n in range(10))
    manifest = Manifest("s", "csv", Span(), "log", {}, ("word",), {0: 7})
    told: list[Manifest] = []
    done = write_parts(Folder(tmp_path), manifest, [Column("word", "text")], rows, told.append)
    found = [len(one.read_text().splitlines()) - 1 for one in sorted(tmp_path.glob("part-*.csv"))]
    assert found == parts
    assert (done.parts, done.rows, done.last, done.complete) == (len(parts), 10, Place(0, ("9",)), True)
    assert Folder(tmp_path).manifest() == done
    assert [one.rows for one in told] == [sum(parts[: n + 1]) for n in range(len(parts))]
