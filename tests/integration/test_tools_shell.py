"""The shell tool with real processes: what it gives, what it limits, and that nothing of a command is left."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import psutil
import pytest

from app.core.intents import ToolResult
from app.core.messages import ToolCall
from app.tools import shell
from app.tools.folders import WorkFolders
from app.tools.tool import ToolContext
from app.tools.toolbox import RESULT_BYTES_MAX, ToolBox

LONG = 60


def context(owner: str = "ana", conversation_id: str = "c") -> ToolContext:
    return ToolContext(owner, conversation_id, UUID(int=1), "key", lambda: datetime.now(UTC))


async def used(root: Path, command: str, *, timeout_seconds: float = LONG, owner: str = "ana") -> ToolResult:
    box = ToolBox([shell.tool(WorkFolders(root), timeout_seconds=timeout_seconds)])
    return await box.call(ToolCall("1", "shell", json.dumps({"command": command})), context(owner))


async def read_pids(fifo: Path, count: int) -> list[psutil.Process]:
    """The processes whose ids are written to `fifo`: waits until `count` have said theirs."""

    def read() -> list[psutil.Process]:
        with fifo.open() as lines:
            return [psutil.Process(int(lines.readline())) for _ in range(count)]

    return await asyncio.to_thread(read)


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    """Held open for writing too, so that several writers may come and go."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


def folder_of(root: Path) -> Path:
    return WorkFolders(root).folder("ana", "c")


async def test_output_and_exit_code_are_the_result(tmp_path: Path) -> None:
    result = await used(tmp_path, "echo out; echo err >&2; exit 3")
    assert (result.content, result.error_class) == ("exit code 3\nstdout:\nout\nstderr:\nerr", None)
    assert (await used(tmp_path, "true")).content == "exit code 0\n(no output)"
    assert (await used(tmp_path, "kill -KILL $$")).content.startswith(f"exit code {128 + signal.SIGKILL}")


async def test_it_works_in_a_private_folder_whose_name_comes_from_a_digest(tmp_path: Path) -> None:
    result = await used(tmp_path / "work", "pwd; touch here", owner="../../etc")
    (folder,) = (tmp_path / "work").iterdir()
    assert str(folder) in result.content
    assert (folder / "here").exists()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert set(folder.name) <= set("0123456789abcdef")
    other = await used(tmp_path / "work", "ls", owner="bob")
    assert "here" not in other.content


async def test_the_environment_has_nothing_of_the_services(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret-of-ours")
    result = await used(tmp_path, "env; tr '\\0' '\\n' < /proc/$PPID/environ")
    assert "secret-of-ours" not in result.content
    names = {line.partition("=")[0] for line in result.content.splitlines() if "=" in line}
    assert names <= {"PATH", "HOME", "LANG", "PWD", "SHLVL", "_", "OLDPWD", "LC_CTYPE"}


async def test_there_is_no_input_and_pipes_behave_as_in_a_terminal(tmp_path: Path) -> None:
    assert "read 0" in (await used(tmp_path, "cat | wc -c | sed 's/^/read /'")).content
    assert (
        await used(tmp_path, "yes | head -n 1")
    ).content == "exit code 0\nstdout:\ny"  # SIGPIPE is not ignored


async def test_long_output_is_shown_by_its_beginning_and_its_end(tmp_path: Path) -> None:
    content = (await used(tmp_path, "seq 1 100000")).content
    assert len(content.encode()) <= RESULT_BYTES_MAX
    assert "\n1\n2\n" in content
    assert content.endswith("99999\n100000")
    assert "bytes left out" in content


async def test_a_command_that_writes_without_end_is_ended(tmp_path: Path) -> None:
    result = await used(tmp_path, "yes")
    assert result.error_class == "failed"
    assert result.content.startswith("The command was ended: it wrote more than 4194304 bytes")


@pytest.mark.parametrize("stubborn", ["", "trap '' TERM; "])
async def test_the_time_limit_ends_everything_the_command_started(
    tmp_path: Path, fifo: Path, stubborn: str
) -> None:
    """Also what does not listen to SIGTERM, what left the process group, and what runs as an orphan."""
    command = (
        f"{stubborn}echo early; exec 9>{fifo}; "
        f"setsid sh -c 'echo $$ >&9; exec sleep {LONG * 10}' & (sleep {LONG * 10} & echo $! >&9); echo $$ >&9; "
        f"sleep {LONG * 10}; sleep {LONG * 10}"
    )
    call = asyncio.ensure_future(used(tmp_path, command, timeout_seconds=3))
    processes = await read_pids(fifo, 3)
    result = await call
    assert result.content == "The command was ended after 3 seconds.\nstdout:\nearly"
    assert [process for process in processes if process.is_running()] == []


async def test_what_a_command_leaves_running_ends_with_it(tmp_path: Path, fifo: Path) -> None:
    """It holds the output open, which would otherwise keep the result waiting."""
    call = asyncio.ensure_future(used(tmp_path, f"sleep {LONG * 10} & echo $! > {fifo}; echo done"))
    (left,) = await read_pids(fifo, 1)
    assert (await call).content == "exit code 0\nstdout:\ndone"
    assert not left.is_running()


async def test_a_cancelled_call_leaves_no_process_and_no_zombie(tmp_path: Path, fifo: Path) -> None:
    before = set(psutil.Process().children(recursive=True))
    call = asyncio.ensure_future(
        used(tmp_path, f"head -c 3000000 /dev/zero & echo $$ > {fifo}; sleep {LONG * 10}")
    )
    (process,) = await read_pids(fifo, 1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert not process.is_running()
    assert set(psutil.Process().children(recursive=True)) == before


async def test_a_program_that_is_not_there_is_the_shells_own_answer(tmp_path: Path) -> None:
    result = await used(tmp_path, "no-such-program")
    assert result.content.startswith("exit code 127")
    assert "no-such-program" in result.content


async def test_a_file_cannot_grow_without_bound(tmp_path: Path) -> None:
    result = await used(tmp_path, "head -c 100000000 /dev/zero > big; echo code $?; stat -c %s big")
    assert str(shell.FILE_BYTES_MAX) in result.content


def test_it_needs_a_person_who_is_shown_the_command_exactly(tmp_path: Path) -> None:
    tool = shell.tool(WorkFolders(tmp_path), locale="zh")
    assert tool.confirm
    assert tool.effect == "once"
    assert tool.command is not None
    assert tool.command({"command": "rm -rf  'a b' # \u202e"}) == "rm -rf  'a b' # \u202e"
    assert "服务器" in tool.reason


SERVICE = """
import asyncio, sys
from pathlib import Path
from app.tools import shell
asyncio.run(shell.run(sys.argv[1], Path(sys.argv[2]), timeout_seconds=600))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a parent's death is told by Linux only")
@pytest.mark.parametrize("end", [subprocess.Popen[bytes].kill, subprocess.Popen[bytes].terminate])
async def test_a_command_does_not_outlive_its_service(
    tmp_path: Path, fifo: Path, end: Callable[[subprocess.Popen[bytes]], None]
) -> None:
    command = (
        f"exec 9>{fifo}; echo $$ >&9; echo $PPID >&9; setsid sh -c 'echo $$ >&9; exec sleep 600' & sleep 600"
    )
    arguments = [sys.executable, "-c", SERVICE, command, str(tmp_path)]
    service = subprocess.Popen(arguments)  # noqa: ASYNC220 (it is killed, not waited for)
    processes = await read_pids(fifo, 3)
    end(service)
    service.wait()
    _, alive = await asyncio.to_thread(psutil.wait_procs, processes, timeout=30)
    assert alive == []
