"""The command line as a shell runs it: how it names itself, mistakes in its options, and output that nobody takes."""

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from app.bench.cli import BENCHMARKS
from app.log.log import open_log
from tests.support.events import make_event
from tests.support.service import ROOT, script

SECONDS_MAX = 60
FULL = Path("/dev/full")


def minutebook(
    folder: Path, *arguments: object, out: int = subprocess.PIPE, **settings: str
) -> subprocess.CompletedProcess[str]:
    """`settings` are variables of the environment."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name != "DATABASE_URL" and not name.startswith("MINUTEBOOK_")
    }
    return subprocess.run(
        [sys.executable, "-m", "app.cli", *map(str, arguments)],
        cwd=ROOT,
        env={**kept, "MINUTEBOOK_DATA_DIR": str(folder), **settings},
        stdout=out,
        stderr=subprocess.PIPE,
        text=True,
        timeout=SECONDS_MAX,
    )


def test_every_benchmark_is_in_the_help(tmp_path: Path) -> None:
    shown = minutebook(tmp_path, "bench", "--help")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.startswith("Usage: minutebook bench [OPTIONS] [NAME]")
    assert set(BENCHMARKS) <= {line.split()[0] for line in shown.stdout.splitlines() if line.strip()}
    assert "--rounds" in shown.stdout


def test_it_calls_itself_minutebook(tmp_path: Path) -> None:
    wrong = minutebook(tmp_path, "replay")
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("Usage: minutebook replay ")
    assert "Try 'minutebook replay --help'" in wrong.stderr


@pytest.mark.parametrize("port", ["99999", "-5"])
def test_a_port_that_cannot_be_is_a_mistake_in_the_option(tmp_path: Path, port: str) -> None:
    wrong = minutebook(tmp_path, "run", "--port", port)
    assert wrong.returncode == 2
    assert "--port" in wrong.stderr
    assert "0<=x<=65535" in wrong.stderr
    assert "Traceback" not in wrong.stderr


def test_an_address_that_names_no_database_is_one_line_without_the_password(tmp_path: Path) -> None:
    for command in ("run", "tail"):
        wrong = minutebook(tmp_path, command, DATABASE_URL="postgresql://u:gehe%im@h/x")
        assert wrong.returncode == 2
        assert re.fullmatch(
            r"minutebook: setting 'database_url' .*; for example postgresql://.*\n", wrong.stderr
        )
        assert "gehe" not in wrong.stderr


def test_a_wrong_mcp_server_is_one_line_before_anything_is_looked_at(tmp_path: Path) -> None:
    wrong = minutebook(tmp_path, "doctor", MINUTEBOOK_MCP_SERVERS='[{"name": "x"}]')
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("minutebook: mcp_servers: 'x' needs either 'command' or 'url'")


@pytest.fixture
def imported(dsn: str) -> str:
    """A database with a conversation `c1` that is longer than any buffer."""

    async def write() -> None:
        log = await open_log(dsn, node_id="writer")
        await log.append("conversation/local/c1", [make_event("x" * 100_000)])
        await log.close()

    asyncio.run(write())
    return dsn


@pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full here")
def test_output_that_cannot_be_written_is_one_line(tmp_path: Path, imported: str) -> None:
    """Guards `app/commands/output.py`: bytes longer and shorter than a buffer, and lines by click."""
    with FULL.open("wb") as full:
        for arguments in (["export", "c1"], ["tail"], ["users", "list"]):
            ended = minutebook(tmp_path, *arguments, out=full.fileno(), DATABASE_URL=imported)
            assert (ended.returncode, ended.stderr) == (
                1,
                "Error: standard output cannot be written: No space left on device\n",
            )


@pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full here")
def test_a_service_that_cannot_say_where_it_serves_shuts_down_in_order(tmp_path: Path, dsn: str) -> None:
    """Guards `MinutebookServer.startup`: its logs are lines of JSON, and no traceback is among them."""
    model = script(tmp_path, [])
    with FULL.open("wb") as full:
        settings = {"DATABASE_URL": dsn, "MINUTEBOOK_MODEL": model}
        ended = minutebook(tmp_path, "run", "--port", "0", out=full.fileno(), **settings)
    *logged, last = ended.stderr.splitlines()
    assert (ended.returncode, last) == (
        1,
        "Error: standard output cannot be written: No space left on device",
    )
    assert [line for line in logged if json.loads(line)["level"] == "error"] == []


def test_a_reader_that_has_gone_away_is_told_nothing(tmp_path: Path, imported: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        for arguments in (["tail", "--json"], ["export", "c1"]):
            assert minutebook(tmp_path, *arguments, out=writing, DATABASE_URL=imported).stderr == ""
    finally:
        os.close(writing)
