"""`import`, `export`, `tail` and `replay` against a real log, with real conversations where they are at hand."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from click.testing import Result

from app.commands.follow import replay_command, tail_command
from app.commands.transfer import export_command, import_command
from app.core.envelope import NewEvent
from app.core.events import ConversationDeleted
from app.log.errors import LogUnavailable
from app.log.ids import new_id
from app.log.log import Log, open_log
from app.transfer import importing
from app.transfer.following import pauses
from tests.support import real
from tests.support.commands import invoke
from tests.support.events import make_event
from tests.support.projected import Book

WAIT_SECONDS = 60.0


@pytest.fixture
def run(dsn: str) -> Callable[..., Result]:
    return lambda command, *arguments: invoke(command, dsn, *arguments)


def line(conversation_id: str, *texts: str, **fields: object) -> bytes:
    messages = [{"role": "user", "content": text} for text in texts]
    return json.dumps({"id": conversation_id, **fields, "messages": messages}).encode() + b"\n"


def deletion(conversation_id: str) -> NewEvent:
    return NewEvent(new_id(), ConversationDeleted(conversation_id))


def events(dsn: str) -> list[tuple[str, str]]:
    """Stream and payload of every event, in their order within the streams."""
    with psycopg.connect(dsn) as connection:
        return connection.execute(
            "SELECT s.name, e.payload::text FROM events e JOIN streams s ON s.id = e.stream_id "
            "ORDER BY s.name, e.stream_offset"
        ).fetchall()


@real.needs_conversations
def test_all_real_conversations_come_out_as_they_went_in(
    dsn: str, run: Callable[..., Result], tmp_path: Path
) -> None:
    result = run(import_command, real.CONVERSATIONS)
    assert (result.exit_code, result.stdout) == (
        0,
        "100 conversations imported (2526 messages), 0 were there already, 0 failed.\n",
    )
    lines = real.CONVERSATIONS.read_bytes().splitlines()
    assert len(lines) == 100
    for number, source in enumerate(lines):
        conversation_id = json.loads(source)["id"]
        if number % 10 == 0:
            output = tmp_path / "out.jsonl"
            assert run(export_command, conversation_id, "--output", output).exit_code == 0
            assert output.read_bytes() == source + b"\n"
        assert exported(dsn, conversation_id) == json.loads(source)
    before = events(dsn)
    assert len(before) == 100 + 2526
    again = run(import_command, real.CONVERSATIONS)
    assert again.stdout == "0 conversations imported (0 messages), 100 were there already, 0 failed.\n"
    assert events(dsn) == before


def exported(dsn: str, conversation_id: str) -> object:
    from app.transfer.exporting import OpenAIExport

    async def read() -> bytes:
        log = await open_log(dsn, node_id="reader")
        export = OpenAIExport(conversation_id)
        try:
            async for recorded in log.reader.all_of(f"conversation/local/{conversation_id}"):
                export.add(recorded)
        finally:
            await log.close()
        return export.line()

    return json.loads(asyncio.run(read()))


def test_a_broken_line_is_named_and_loses_nothing_else(
    dsn: str, run: Callable[..., Result], tmp_path: Path
) -> None:
    file = tmp_path / "some.jsonl"
    broken = b'{"id":"c3","messages":[{"role":"user","content":"x"},{"role":"robot","content":"x"}]}\n'
    file.write_bytes(
        line("c1", "a") + b"{oops\n" + line("c2", "b") + b"\n" + broken + line("c4", "c").rstrip()
    )
    result = run(import_command, file)
    assert result.exit_code == 1
    assert result.stdout == "3 conversations imported (3 messages), 0 were there already, 2 failed.\n"
    assert "line 2: not valid JSON" in result.stderr
    assert "line 5: messages[1].role: " in result.stderr
    assert "use developer, system, user, assistant, tool or function" in result.stderr
    assert {stream for stream, _ in events(dsn)} == {f"conversation/local/c{number}" for number in (1, 2, 4)}
    file.write_bytes(
        file.read_bytes().replace(b"robot", b"tool_").replace(b"tool_", b"user").replace(b"{oops\n", b"")
    )
    mended = run(import_command, file)
    assert mended.exit_code == 0
    assert mended.stdout == "1 conversations imported (2 messages), 3 were there already, 0 failed.\n"


def test_an_id_that_is_taken_by_other_content_is_refused(
    dsn: str, run: Callable[..., Result], tmp_path: Path
) -> None:
    file = tmp_path / "some.jsonl"
    file.write_bytes(line("c1", "a") + line("c1", "a"))
    assert run(import_command, file).stdout.startswith("1 conversations imported (1 messages), 1 were there")
    file.write_bytes(line("c1", "b"))
    changed = run(import_command, file)
    assert (
        "line 1: messages: conversation 'c1' was imported before, with other content; import it under another id\n"
        in changed.stderr
    )
    with open_for(dsn) as append:
        append("conversation/local/c2", make_event("said here"))
    file.write_bytes(line("c2", "b"))
    native = run(import_command, file)
    assert native.exit_code == 1
    assert (
        "line 1: id: local has a conversation 'c2' of another origin; import it under another id\n"
        in native.stderr
    )
    assert len(events(dsn)) == 3


def test_what_was_deleted_after_its_import_is_not_said_to_be_there(
    dsn: str, run: Callable[..., Result], tmp_path: Path
) -> None:
    file = tmp_path / "some.jsonl"
    file.write_bytes(line("c1", "a") + line("c2", "b") + line("c3", "c"))
    assert run(import_command, file).exit_code == 0
    with open_for(dsn) as append:
        append("conversation/local/c2", deletion("c2"))
    file.write_bytes(file.read_bytes() + line("c4", "d"))
    before = events(dsn)
    again = run(import_command, file)
    assert again.exit_code == 1
    assert again.stdout == "1 conversations imported (1 messages), 2 were there already, 1 failed.\n"
    assert (
        "line 2: id: the conversation was imported before and has been deleted since; import it under another id\n"
        in again.stderr
    )
    assert [one for one in events(dsn) if "/c4" not in one[0]] == before
    file.write_bytes(line("c2-again", "b"))
    assert run(import_command, file).exit_code == 0


async def test_an_import_is_not_gone_on_with_behind_a_deletion(
    dsn: str, log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped half-way, then deleted: the rest alone would be a conversation without its beginning."""
    monkeypatch.setattr(importing, "PART_EVENTS_MAX", 3)
    conversation = importing.parse_line(line("c1", *(f"text {number}" for number in range(10))))
    stream = "conversation/local/c1"
    first, *_ = importing.parts(conversation, "local")
    await log.append(stream, first, expected_offset=0, idempotency_key="import/c1/0")
    await log.append(stream, [deletion("c1")])
    before = events(dsn)
    file = tmp_path / "some.jsonl"
    file.write_bytes(line("c1", *(f"text {number}" for number in range(10))))
    results: list[importing.LineResult] = []
    with file.open("rb") as opened:
        await importing.import_file(log, opened, "local", results.append)
    assert [(one.outcome, "deleted since" in one.error) for one in results] == [("failed", True)]
    assert events(dsn) == before


async def test_an_import_is_gone_on_with_where_somebody_has_spoken_meanwhile(
    dsn: str, log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "PART_EVENTS_MAX", 3)
    source = line("c1", *(f"text {number}" for number in range(10)))
    stream = "conversation/local/c1"
    first, *_ = importing.parts(importing.parse_line(source), "local")
    await log.append(stream, first, expected_offset=0, idempotency_key="import/c1/0")
    await log.append(stream, [make_event("a word between")])
    file = tmp_path / "some.jsonl"
    file.write_bytes(source)
    for outcome in ("imported", "present"):
        results: list[importing.LineResult] = []
        with file.open("rb") as opened:
            await importing.import_file(log, opened, "local", results.append)
        assert [one.outcome for one in results] == [outcome]
    assert len(events(dsn)) == 12


class open_for:  # noqa: N801
    """Appends from a test that has no event loop of its own."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    def __enter__(self) -> Callable[..., None]:
        return self._append

    def __exit__(self, *_: object) -> None:
        return None

    def _append(self, stream: str, *new: NewEvent) -> None:
        async def append() -> None:
            log = await open_log(self._dsn, node_id="writer")
            await log.append(stream, new)
            await log.close()

        asyncio.run(append())


async def test_an_import_that_was_stopped_goes_on_where_it_was(
    dsn: str, log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "PART_EVENTS_MAX", 3)
    texts = [f"text {number}" for number in range(10)]
    file = tmp_path / "some.jsonl"
    file.write_bytes(b"".join(line(f"c{number}", *texts, reward=number) for number in range(5)))

    class Broken:
        """A log that goes away after some appends; the last one was written all the same."""

        def __init__(self, appends: int) -> None:
            self.left = appends

        async def append(self, *arguments: object, **options: object) -> object:
            self.left -= 1
            appended = await log.append(*arguments, **options)
            if self.left < 0:
                raise LogUnavailable("gone", outcome_unknown=True)
            return appended

    for appends in (0, 3, 8):
        with file.open("rb") as opened, pytest.raises(LogUnavailable):
            await importing.import_file(Broken(appends), opened, "local", lambda result: None)
    with file.open("rb") as opened:
        summary = await importing.import_file(log, opened, "local", lambda result: None)
    assert (summary.lines, summary.imported + summary.present, summary.failed) == (5, 5, 0)
    found = events(dsn)
    assert len(found) == 5 * 11
    for number in range(5):
        payloads = [json.loads(payload) for stream, payload in found if stream.endswith(f"/c{number}")]
        assert payloads[0]["fields"] == {"reward": number}
        assert [payload["message"]["content"] for payload in payloads[1:]] == texts


def test_a_killed_import_is_completed_by_the_next(
    dsn: str, run: Callable[..., Result], tmp_path: Path
) -> None:
    file = tmp_path / "many.jsonl"
    file.write_bytes(b"".join(line(f"c{number}", *["text"] * 20) for number in range(2_000)))
    program = (
        "import sys; from app.commands.transfer import import_command\n"
        "class Database:\n    owner = 'local'\n    def dsn(self): return sys.argv[1]\n"
        "import_command.main([sys.argv[2]], obj=Database())"
    )
    process = subprocess.Popen([sys.executable, "-c", program, dsn, str(file)], stderr=subprocess.DEVNULL)
    with psycopg.connect(dsn, autocommit=True) as connection:
        while process.poll() is None:
            row = connection.execute("SELECT position FROM partitions").fetchone()
            if row and row[0] > 2_000:
                process.send_signal(signal.SIGKILL)
                break
    assert process.wait(WAIT_SECONDS) == -signal.SIGKILL
    cut_off = len(events(dsn))
    assert 2_000 < cut_off < 42_000
    result = run(import_command, file)
    assert result.exit_code == 0
    found = events(dsn)
    assert len(found) == 2_000 * 21
    assert len({stream for stream, _ in found}) == 2_000


def test_a_line_that_is_too_long_is_passed_over(
    run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "LINE_BYTES_MAX", 200)
    file = tmp_path / "some.jsonl"
    file.write_bytes(line("c1", "x" * 1000) + line("c2", "b"))
    result = run(import_command, file)
    assert "line 1: has more than 200 bytes" in result.stderr
    assert result.stdout.startswith("1 conversations imported")


def test_what_is_not_there_cannot_be_exported(dsn: str, run: Callable[..., Result], tmp_path: Path) -> None:
    output = tmp_path / "out"
    result = run(export_command, "c1", "--output", output)
    assert result.exit_code == 1
    assert "local has no conversation 'c1'" in result.stderr
    assert run(export_command, "a/b").exit_code == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["nowhere/x", "a-file/x"])
def test_a_file_that_cannot_be_written_is_named_as_it_was_given(
    run: Callable[..., Result], tmp_path: Path, place: str
) -> None:
    file = tmp_path / "a-file"
    file.write_bytes(line("c1", "a"))
    assert run(import_command, file).exit_code == 0
    refused = run(export_command, "c1", "--output", tmp_path / place)
    assert refused.exit_code == 1
    assert f"{tmp_path / place} cannot be written: " in refused.stderr
    assert ".part" not in refused.stderr
    assert list(tmp_path.iterdir()) == [file]


def test_a_pipe_is_written_and_not_replaced(run: Callable[..., Result], tmp_path: Path) -> None:
    file, pipe = tmp_path / "some.jsonl", tmp_path / "pipe"
    file.write_bytes(line("c1", "a"))
    assert run(import_command, file).exit_code == 0
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert run(export_command, "c1", "--output", pipe).exit_code == 0
        assert json.loads(os.read(reading, 65_536)) == json.loads(file.read_bytes())
    finally:
        os.close(reading)
    assert pipe.is_fifo()


def test_events_are_exported_as_they_are_in_the_log(
    dsn: str, run: Callable[..., Result], tmp_path: Path
) -> None:
    file = tmp_path / "some.jsonl"
    file.write_bytes(line("c1", "a", "中") + line("c2", "x"))
    assert run(import_command, file, "--owner", "ann").exit_code == 0
    result = run(export_command, "c1", "--format", "events", "--owner", "ann")
    envelopes = [json.loads(text) for text in result.stdout.splitlines()]
    assert [(one["offset"], one["type"], one["actor"]) for one in envelopes] == [
        (1, "conversation.imported", "user:ann"),
        (2, "message.imported", "user:ann"),
        (3, "message.imported", "user:ann"),
    ]
    stored = [json.loads(payload) for stream, payload in events(dsn) if stream == "conversation/ann/c1"]
    assert [one["payload"] for one in envelopes] == stored


def test_tail_prints_the_newest_or_what_is_behind_a_position(
    dsn: str, run: Callable[..., Result], tmp_path: Path
) -> None:
    file = tmp_path / "some.jsonl"
    file.write_bytes(line("c1", *(f"text {number}" for number in range(19))))
    assert run(import_command, file).exit_code == 0
    newest = run(tail_command).stdout.splitlines()
    assert [text.split()[0] for text in newest] == [str(position) for position in range(11, 21)]
    assert '"text 18"' in newest[-1]
    assert "conversation/local/c1#20 message.imported user:local" in newest[-1]
    behind = run(tail_command, "--after", 17, "--json").stdout.splitlines()
    assert [json.loads(text)["position"] for text in behind] == [18, 19, 20]
    of_one = run(tail_command, "--conversation", "c1", "--after", 18).stdout.splitlines()
    assert len(of_one) == 2


@pytest.mark.parametrize("scope", [[], ["--conversation", "c1"]])
def test_tail_follows_until_it_is_stopped(dsn: str, scope: list[str]) -> None:
    with open_for(dsn) as append:
        append("conversation/local/c1", make_event("before"))
        program = (
            "import signal, sys; from app.commands.follow import tail_command\n"
            "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell ignores it in the background
            "class Database:\n    owner = 'local'\n    def dsn(self): return sys.argv[1]\n"
            "tail_command.main(sys.argv[2:], obj=Database())"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", program, dsn, "--follow", *scope],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        assert process.stdout is not None
        assert "before" in process.stdout.readline()
        append("conversation/local/c1", make_event("after\x1b[2J\nbreak"))
        shown = process.stdout.readline()
        assert shown.rstrip().endswith("after�[2J break")
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=WAIT_SECONDS)
    assert (process.returncode, out, errors) == (0, "", "")


def test_replay_prints_a_conversation_from_an_offset(run: Callable[..., Result], tmp_path: Path) -> None:
    file = tmp_path / "some.jsonl"
    file.write_bytes(line("c1", "a", "b", "c"))
    assert run(import_command, file).exit_code == 0
    lines = run(replay_command, "c1", "--after", 2, "--speed", 0, "--json").stdout.splitlines()
    assert [json.loads(text)["offset"] for text in lines] == [3, 4]
    missing = run(replay_command, "c9")
    assert (missing.exit_code, "no conversation 'c9'" in missing.stderr) == (1, True)


def test_replay_keeps_the_pace_divided_by_the_speed() -> None:
    book = Book()
    for _ in range(3):
        book.add(make_event("x").payload)
    assert [seconds for seconds, _ in pauses(book.recorded, 4)] == [0, 0.25, 0.25]
    assert [seconds for seconds, _ in pauses(book.recorded[1:], 0.5, book.recorded[0].recorded_at)] == [2, 2]
    assert [seconds for seconds, _ in pauses(book.recorded, 0)] == [0, 0, 0]


@pytest.mark.parametrize("speed", ["nan", "inf", "-inf", "-1", "1e999", "fast"])
def test_what_is_no_speed_is_refused(run: Callable[..., Result], speed: str) -> None:
    refused = run(replay_command, "c1", "--speed", speed)
    assert refused.exit_code == 2
    assert f"'{speed}' is no speed" in refused.stderr


def test_where_there_is_nothing_to_show_it_is_said(run: Callable[..., Result], tmp_path: Path) -> None:
    file = tmp_path / "some.jsonl"
    file.write_bytes(line("c1", "a"))
    assert run(import_command, file).exit_code == 0
    for arguments, code, said in (
        ((replay_command, "c1", "--after", 99), 0, "nothing behind offset 99: the conversation ends at 2"),
        ((tail_command, "--conversation", "c1", "--after", 99), 0, "the conversation ends at 2"),
        ((tail_command, "--after", 99), 0, "nothing behind position 99 yet: the log ends at 2"),
        ((tail_command, "--conversation", "nope"), 1, "local has no conversation 'nope'"),
    ):
        shown = run(*arguments)
        assert (shown.exit_code, shown.stdout) == (code, "")
        assert said in shown.stderr
    everything = run(replay_command, "c1", "--speed", 1000)
    assert (len(everything.stdout.splitlines()), everything.stderr) == (2, "")
