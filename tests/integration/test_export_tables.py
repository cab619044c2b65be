"""`minutebook export experiences|events|usage`: the rows are right, of one position, in constant memory.

What becomes of it when it is stopped: `tests/faults/test_exports.py`.
"""

import csv
import fcntl
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from uuid import uuid4

import msgspec
import psycopg
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from click.testing import Result

from app.commands.transfer import export_command
from app.core.envelope import Recorded
from app.transfer import table_parts, table_reading, tables
from app.transfer.table_export import export_table
from app.transfer.table_formats import Form
from app.transfer.table_reading import Span, ViewStopped
from projections import ALL, usage
from projections.runner import ProjectionRunner
from tests.support.commands import invoke
from tests.support.databases import TestServer
from tests.support.exports import files_of, make_parts_small
from tests.support.projected import write
from tests.support.working_week import MONDAY, working_week

SUBJECTS = ("events", "usage", "experiences")
FORMS: tuple[Form, ...] = ("parquet", "csv", "jsonl")
GROWTH_BYTES_MAX = 16 * 1024 * 1024


@pytest.fixture
def run(dsn: str) -> Callable[..., Result]:
    def run(*arguments: object, address: str = dsn) -> Result:
        return invoke(export_command, address, *arguments)

    return run


@pytest.fixture
def week(dsn: str) -> list[Recorded]:
    found = working_week()
    write(dsn, found)
    return found


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    make_parts_small(monkeypatch.setattr)


def rows_of(folder: Path) -> list[dict[str, object]]:
    return ds.dataset(folder).to_table().to_pylist()


def test_events_are_those_of_the_log_with_their_envelopes(
    run: Callable[..., Result], week: list[Recorded], tmp_path: Path
) -> None:
    result = run("events", "--format", "parquet", "--output", tmp_path / "out")
    assert (result.exit_code, result.stdout) == (
        0,
        f"714 rows of events (1 file) at position 714 exported to {tmp_path / 'out'}.\n",
    )
    wanted = [msgspec.structs.asdict(one) | {"id": str(one.id)} for one in week]
    wanted = [one | {"task_id": str(one["task_id"])} for one in wanted]
    assert rows_of(tmp_path / "out") == wanted
    facts = json.loads(pq.read_schema(tmp_path / "out/part-000000.parquet").metadata[b"minutebook"])
    assert (facts["subject"], facts["positions"], facts["since"]) == ("events", {"0": 714}, None)


def test_usage_is_what_was_asked_and_spent_by_each(
    run: Callable[..., Result], week: list[Recorded], tmp_path: Path
) -> None:
    assert run("usage", "--format", "parquet", "--output", tmp_path / "out").exit_code == 0
    requests, tokens = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for one in week:
        payload = json.loads(one.payload)
        if "charged_to" not in payload:
            continue
        used = payload.get("answer", {}).get("usage", {})
        for who in (("user", one.stream.split("/")[1]), ("department", payload["charged_to"])):
            requests[who] += one.type == "run.requested"
            tokens[who] += used.get("prompt_tokens", 0) + used.get("completion_tokens", 0)
    found = rows_of(tmp_path / "out")
    assert {who: n for who, n in requests.items() if n} == summed(found, "requests")
    assert dict(tokens) == summed(found, "prompt_tokens", "completion_tokens")


def summed(rows: list[dict[str, object]], *columns: str) -> dict[tuple[str, str], int]:
    sums = Counter[tuple[str, str]]()
    for row in rows:
        sums[str(row["subject"]), str(row["subject_id"])] += sum(int(str(row[one])) for one in columns)
    return dict(sums)


def test_experiences_are_the_ended_runs_in_the_order_of_their_ends(
    dsn: str, run: Callable[..., Result], week: list[Recorded], tmp_path: Path
) -> None:
    write(dsn, [msgspec.structs.replace(week[0], position=715, offset=10_000, id=uuid4(), task_id=uuid4())])
    assert run("experiences", "--format", "parquet", "--output", tmp_path / "out").exit_code == 0
    ends = {"run.completed": "success", "run.failed": "failure", "run.cancelled": "cancelled"}
    wanted = [
        (str(one.task_id), ends[one.type], json.loads(one.payload)["duration_ms"], one.recorded_at)
        for one in sorted(week, key=lambda one: one.recorded_at)
        if one.type in ends
    ]
    found = rows_of(tmp_path / "out")
    assert [(row["id"], row["outcome"], row["duration_ms"], row["ended_at"]) for row in found] == wanted
    assert {row["goal"] for row in found} >= {"compare offer 1"}
    assert json.loads(str(found[0]["tools"]))["calculator"]["calls"] == 1


@pytest.mark.parametrize("subject", SUBJECTS)
@pytest.mark.usefixtures("week", "small_parts")
def test_all_formats_have_the_same_rows_in_the_same_order(
    run: Callable[..., Result], tmp_path: Path, subject: str
) -> None:
    for form in FORMS:
        result = run(subject, "--format", form, "--output", tmp_path / form)
        assert result.exit_code == 0, result.output
    parquet = rows_of(tmp_path / "parquet")
    lines = [
        line
        for part in sorted((tmp_path / "jsonl").glob("*.jsonl"))
        for line in part.read_bytes().splitlines()
    ]
    fields = [
        row
        for part in sorted((tmp_path / "csv").glob("*.csv"))
        for row in csv.DictReader(part.read_text(encoding="utf-8").splitlines())
    ]
    assert len(parquet) == len(lines) == len(fields) > 2 * 40
    as_json = [json.loads(line) for line in lines]
    found = [
        [{name: text(value) for name, value in row.items()} for row in rows] for rows in (as_json, fields)
    ]
    assert found == [[{name: text(value) for name, value in row.items()} for row in parquet]] * 2


def text(value: object) -> str:
    """As it is in CSV; JSON with spaces."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case datetime():
            return msgspec.json.encode(value).decode().strip('"')
        case dict():
            return json.dumps(value)
        case str() if value.startswith("{"):
            return json.dumps(json.loads(value))
        case _:
            return str(value)


def test_a_span_takes_its_beginning_and_leaves_out_its_end(
    run: Callable[..., Result], week: list[Recorded], tmp_path: Path
) -> None:
    noon = [one for one in week if one.type == "run.completed"]
    since, until = noon[10].recorded_at, noon[20].recorded_at
    span = ("--since", since.isoformat(), "--until", until.replace(tzinfo=None).isoformat())
    for subject in SUBJECTS:
        assert run(subject, "--format", "parquet", *span, "--output", tmp_path / subject).exit_code == 0
    assert [row["position"] for row in rows_of(tmp_path / "events")] == [
        one.position for one in week if since <= one.recorded_at < until
    ]
    ended = [row["ended_at"] for row in rows_of(tmp_path / "experiences")]
    assert min(ended) == since
    assert max(ended) < until
    hours = {row["hour"] for row in rows_of(tmp_path / "usage")}
    assert hours == {
        hour
        for one in week
        if since <= (hour := one.recorded_at.replace(minute=0, second=0, microsecond=0)) < until
    }


def test_no_event_of_a_span_is_lost_where_times_do_not_ascend(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_reading, "STRETCH_EVENTS", 7)
    chance = Random(3)
    mixed = [
        msgspec.structs.replace(
            one, recorded_at=MONDAY + timedelta(minutes=n // 5 * 5 + chance.randint(-30, 30))
        )
        for n, one in enumerate(working_week(1))
    ]
    write(dsn, mixed)
    since, until = MONDAY + timedelta(minutes=20), MONDAY + timedelta(minutes=60)
    export_table(dsn, tables.SUBJECTS["events"], "parquet", Span(since, until), tmp_path / "out")
    wanted = [one.position for one in mixed if since <= one.recorded_at < until]
    assert [row["position"] for row in rows_of(tmp_path / "out")] == wanted
    assert 0 < len(wanted) < len(mixed)


def test_a_span_without_rows_gives_one_file_with_the_columns(
    run: Callable[..., Result], week: list[Recorded], tmp_path: Path
) -> None:
    for subject in SUBJECTS:
        result = run(subject, "--format", "parquet", "--since", "2030-01-01", "--output", tmp_path / subject)
        assert result.stdout.startswith(f"0 rows of {subject} (1 file) at position 714 exported to ")
        columns = [column.name for column in tables.SUBJECTS[subject].columns]
        assert ds.dataset(tmp_path / subject).schema.names == columns
        assert rows_of(tmp_path / subject) == []


@pytest.mark.parametrize("subject", SUBJECTS)
@pytest.mark.usefixtures("week", "small_parts")
def test_what_is_appended_and_folded_meanwhile_is_not_in_an_export(
    dsn: str, tmp_path: Path, subject: str
) -> None:
    """The guard is the snapshot (of events: the fixed position)."""
    export_table(dsn, tables.SUBJECTS[subject], "csv", Span(), tmp_path / "before")
    more = [working_week(3, after=714, seed=2)]

    def go_on(manifest: table_parts.Manifest) -> None:
        if more:
            write(dsn, more.pop())
            ProjectionRunner(dsn).run_to_end()

    export_table(dsn, tables.SUBJECTS[subject], "csv", Span(), tmp_path / "during", written=go_on)
    assert not more
    assert files_of(tmp_path / "during") == files_of(tmp_path / "before")
    export_table(dsn, tables.SUBJECTS[subject], "csv", Span(), tmp_path / "after")
    assert files_of(tmp_path / "after") != files_of(tmp_path / "before")


EVENTS = """
WITH s AS (INSERT INTO streams (name, partition) VALUES ('conversation/a/b', 0) ON CONFLICT (name)
           DO UPDATE SET partition = 0 RETURNING id), p AS (UPDATE partitions SET position = position + %(n)s)
INSERT INTO events (position, stream_id, stream_offset, recorded_at, id, partition, schema_version, type, actor,
                    payload)
SELECT n + at.position, s.id, n + at.position, now(), gen_random_uuid(), 0, 1, 'other', 'system',
       json_build_object('text', repeat(md5(n::text), 80))
FROM s, (SELECT position FROM partitions) at, generate_series(1, %(n)s) n
"""
USAGE = """
INSERT INTO usage_by_user SELECT md5(concat('u', n, now())), true, now(), 0, 1, 2, 3, 4 FROM generate_series(1, %(n)s) n
"""
MEMORY = """
import sys
from pathlib import Path
from app.transfer import table_parts
from app.transfer.table_export import export_table
from app.transfer.table_reading import Span
from app.transfer.tables import SUBJECTS
table_parts.GROUP_BYTES_MAX, table_parts.GROUP_ROWS_MAX = 1_000_000, 2_000
export_table(sys.argv[1], SUBJECTS[sys.argv[2]], "parquet", Span(), Path(sys.argv[3]))
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from /proc")
@pytest.mark.parametrize(
    ("subject", "statement", "rows"), [("events", EVENTS, 8_000), ("usage", USAGE, 25_000)]
)
def test_three_times_the_rows_need_no_more_memory(
    dsn: str, tmp_path: Path, subject: str, statement: str, rows: int
) -> None:
    """The guards are the pages and the row groups: a list of all rows takes 30-50 MB more."""
    ProjectionRunner(dsn, [usage.BY_DEPARTMENT, usage.BY_USER]).run_to_end()

    def peak_bytes(more: int, name: str) -> int:
        with psycopg.connect(dsn) as connection:
            connection.execute(statement, {"n": more})
        program = [sys.executable, "-c", MEMORY, dsn, subject, str(tmp_path / name)]
        shown = subprocess.run(program, capture_output=True, check=True, text=True, timeout=100)
        return int(shown.stdout) * 1024

    small, large = peak_bytes(rows, "small"), peak_bytes(2 * rows, "large")
    assert ds.dataset(tmp_path / "large").count_rows() == 3 * rows
    assert large - small < GROWTH_BYTES_MAX


@pytest.mark.usefixtures("week")
def test_views_of_another_release_are_left_alone_and_folded_beside(
    dsn: str, run: Callable[..., Result], tmp_path: Path
) -> None:
    ProjectionRunner(dsn, ALL).run_to_end()
    run("usage", "--format", "csv", "--output", tmp_path / "ours")
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("UPDATE projection_checkpoints SET version = 9 WHERE name = 'usage_by_user'")
        connection.execute("DELETE FROM usage_by_user")
        run("usage", "--format", "csv", "--output", tmp_path / "beside")
        assert files_of(tmp_path / "beside") == files_of(tmp_path / "ours")
        assert connection.execute("SELECT count(*) FROM usage_by_user").fetchone() == (0,)
        left = "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'minutebook_%'"
        assert connection.execute(left).fetchone() == (0,)


@pytest.mark.usefixtures("week")
def test_a_view_that_has_stopped_is_named_with_the_reason(
    dsn: str, tmp_path: Path, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> object:
        raise ValueError("I cannot read this")

    broken = msgspec.structs.replace(usage.BY_USER, apply=refuse)
    subject = tables.SUBJECTS["usage"]
    sources = (msgspec.structs.replace(subject.sources[1], projections=(broken,)),)
    monkeypatch.setitem(tables.SUBJECTS, "usage", msgspec.structs.replace(subject, sources=sources))
    result = run("usage", "--format", "csv", "--output", tmp_path / "out")
    assert result.exit_code == 1
    assert (
        "the view usage_by_user has stopped at position 1 (run.requested): ValueError: I cannot"
        in result.stderr
    )
    with pytest.raises(ViewStopped):
        export_table(dsn, tables.SUBJECTS["usage"], "csv", Span(), tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.usefixtures("week")
def test_a_folder_that_holds_something_else_is_refused_and_left_as_it_is(
    server: TestServer, run: Callable[..., Result], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert run("events", "--format", "csv", "--output", out).exit_code == 0
    before = files_of(out)
    refused = {
        (
            "events",
            "--format",
            "jsonl",
        ): "holds the export of events as csv; remove the folder, or name another",
        ("usage", "--format", "csv"): "holds the export of events as csv",
        (
            "events",
            "--format",
            "csv",
            "--since",
            "2026-03-02",
        ): "an export of all times, not since 2026-03-02T00:",
    }
    for arguments, message in refused.items():
        result = run(*arguments, "--output", out)
        assert (result.exit_code, message in result.stderr) == (1, True), result.stderr
    with server.database() as address:
        other = run("events", "--format", "csv", "--output", out, address=address)
    assert "an export of another log (" in other.stderr
    descriptor = os.open(out, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    busy = run("events", "--format", "csv", "--output", out)
    assert f"another export is writing into {out}" in busy.stderr
    os.close(descriptor)
    assert files_of(out) == before
    (out / "part-000000.csv").unlink()
    assert "part-000000.csv is missing" in run("events", "--format", "csv", "--output", out).stderr
    (out / "_export.json").write_text("{}")
    assert "_export.json cannot be read: " in run("events", "--format", "csv", "--output", out).stderr
    (out / "_export.json").rename(out / "notes.txt")
    foreign = run("events", "--format", "csv", "--output", out)
    assert "is not empty and holds no export (for example 'notes.txt')" in foreign.stderr
    file = run("events", "--format", "csv", "--output", out / "notes.txt")
    assert "cannot be used as a folder" in file.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["events", "--since", "yesterday"], "'yesterday' is not a time; write it like 2026-01-31, "),
        (["events", "--until", "0001-01-01T00:00+08:00"], "is not a time"),
        (
            ["events", "--since", "2026-01-02", "--until", "2026-01-02"],
            "is not before --until 2026-01-02T00:00:00",
        ),
        (["c1"], "'c1' cannot be exported as csv: that is for experiences, events, usage"),
        (["events", "--owner", "ann"], "--owner is for conversations"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_made(
    run: Callable[..., Result], tmp_path: Path, arguments: list[str], message: str
) -> None:
    result = run(*arguments, "--format", "csv", "--output", tmp_path / "out")
    assert (result.exit_code, message in result.stderr) == (2, True), result.stderr
    assert not (tmp_path / "out").exists()


def test_a_conversation_may_have_the_name_of_a_table(run: Callable[..., Result], tmp_path: Path) -> None:
    result = run("usage")
    assert "local has no conversation 'usage'; --owner picks another owner, --format parquet" in result.stderr
    assert "--since and --until are for tables" in run("c1", "--since", "2026-01-01").stderr
    assert f"{tmp_path} is a folder; name a file" in run("c1", "--output", tmp_path).stderr


def test_a_folder_of_its_own_is_made_where_none_is_named(
    run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("usage", "--format", "jsonl").exit_code == 0
    assert [one.name for one in sorted((tmp_path / "usage-jsonl").iterdir())] == [
        "_export.json",
        "part-000000.jsonl",
    ]


def test_the_command_line_starts_without_the_parquet_library() -> None:
    program = "import sys, app.cli, app.commands.run; sys.exit('pyarrow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
