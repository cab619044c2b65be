"""`shell`: a command on the service's machine, in the conversation's own folder, after a person has agreed to it.

It is no sandbox: the command runs as the service's user and may read what that user may read. What it gets is a folder
of its own, an environment without the service's secrets, and limits; and whatever it started has ended when it returns.
"""

import asyncio
import contextlib
import math
import os
import signal
from pathlib import Path
from typing import Annotated, Any, Literal

import structlog
from msgspec import Meta, Struct

from app.core.texts import Locale, text
from app.tools.folders import WorkFolders
from app.tools.keeper import kept
from app.tools.tool import InvalidArguments, Tool, ToolContext, ToolError, make_tool

COMMAND_CHARS_MAX = 8_000
OUTPUT_BYTES_MAX = 4 * 1024 * 1024
PART_BYTES_MAX = 3_584
FILE_BYTES_MAX = 64 * 1024 * 1024
PROCESSES_MAX = 4_096
GRACE_SECONDS = 2.0
_READ_BYTES = 64 * 1024
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

logger = structlog.get_logger(__name__)


class ShellArguments(Struct, frozen=True, forbid_unknown_fields=True):
    command: Annotated[
        str,
        Meta(
            description="Command for /bin/sh, in the conversation's folder",
            min_length=1,
            max_length=COMMAND_CHARS_MAX,
        ),
    ]


class Ran(Struct, frozen=True):
    """How a command ended; `exit_code` is 128 + the signal's number where a signal ended it."""

    exit_code: int
    stdout: str
    stderr: str
    stopped: Literal["", "time", "output"] = ""


def tool(folders: WorkFolders, *, timeout_seconds: float = 60.0, locale: Locale = "en") -> Tool:
    """`locale` is that of the reason which a person is shown."""

    async def call(arguments: ShellArguments, context: ToolContext) -> str:
        if "\0" in arguments.command:
            raise InvalidArguments("A command cannot have the character NUL.")
        folder = folders.folder(context.owner, context.conversation_id)
        ran = await run(arguments.command, folder, timeout_seconds=timeout_seconds)
        match ran.stopped:
            case "":
                return _shown(f"exit code {ran.exit_code}", ran)
            case "time":
                raise ToolError(_shown(f"The command was ended after {timeout_seconds:g} seconds.", ran))
            case "output":
                raise ToolError(
                    _shown(
                        f"The command was ended: it wrote more than {OUTPUT_BYTES_MAX} bytes of output.", ran
                    )
                )

    return make_tool(
        "shell",
        "Runs a command with /bin/sh in this conversation's folder, without input and after the user has agreed. "
        "What it leaves running in the background is ended.",
        ShellArguments,
        call,
        effect="once",
        timeout_seconds=timeout_seconds + 4 * GRACE_SECONDS,
        confirm=True,
        reason=text("confirm_shell", locale),
        command=_command,
    )


async def run(command: str, folder: Path, *, timeout_seconds: float) -> Ran:
    """Run it to its end, at most `timeout_seconds` and 4 MiB of output. Nothing of it is left, cancelled or not."""
    limits = {
        "cpu_seconds": math.ceil(timeout_seconds) + 1,
        "file_bytes": FILE_BYTES_MAX,
        "processes": PROCESSES_MAX,
        "core_bytes": 0,
    }
    process = await asyncio.create_subprocess_exec(
        *kept(["/bin/sh", "-c", command], grace_seconds=GRACE_SECONDS, limits=limits),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=folder,
        env={"PATH": os.environ.get("PATH", _PATH), "HOME": str(folder), "LANG": "C.UTF-8"},
        start_new_session=True,
    )
    output = _Output(process)
    try:
        in_time = await output.ended(timeout_seconds)
    finally:
        await asyncio.shield(asyncio.ensure_future(_end(process, output)))
    stopped = "output" if output.flooded else "" if in_time else "time"
    return Ran(process.returncode or 0, output.stdout.text(), output.stderr.text(), stopped)


class _Kept:
    """The beginning and the end of a stream, 3.5 KiB of each."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._tail = b""
        self._bytes = 0

    def add(self, data: bytes) -> None:
        self._bytes += len(data)
        room = PART_BYTES_MAX - len(self._head)
        self._head += data[:room]
        self._tail = (self._tail + data[room:])[-PART_BYTES_MAX:]

    def text(self) -> str:
        left_out = self._bytes - len(self._head) - len(self._tail)
        if not left_out:
            return (self._head + self._tail).decode("utf-8", "replace")
        head, tail = self._head.decode("utf-8", "replace"), self._tail.decode("utf-8", "replace")
        return f"{head}\n[{left_out} bytes left out]\n{tail}"


class _Output:
    """What a process writes, read until it ends, whoever waits for it: a full pipe would keep it from ending."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.stdout, self.stderr = _Kept(), _Kept()
        self.flooded = False
        self._bytes = 0
        self._process = process
        self._end = asyncio.ensure_future(
            asyncio.gather(
                self._drain(process.stdout, self.stdout),
                self._drain(process.stderr, self.stderr),
                process.wait(),
            )
        )

    async def ended(self, seconds: float) -> bool:
        """Whether the process has ended within that time."""
        return bool((await asyncio.wait({self._end}, timeout=seconds))[0])

    async def _drain(self, stream: asyncio.StreamReader | None, into: _Kept) -> None:
        assert stream is not None  # noqa: S101
        while data := await stream.read(_READ_BYTES):
            into.add(data)
            self._bytes += len(data)
            if self._bytes > OUTPUT_BYTES_MAX and not self.flooded:
                self.flooded = True
                _signal(self._process, signal.SIGTERM)


async def _end(process: asyncio.subprocess.Process, output: _Output) -> None:
    """Have the keeper end everything that it keeps, and wait for it."""
    if await output.ended(0):
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        _signal(process, number)
        if await output.ended(2 * GRACE_SECONDS):
            return
    logger.error("shell_command_does_not_end", pid=process.pid)


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)


def _shown(headline: str, ran: Ran) -> str:
    parts = [headline]
    for name, content in (("stdout", ran.stdout), ("stderr", ran.stderr)):
        if content:
            parts.append(f"{name}:\n{content.rstrip()}")
    return "\n".join(parts if len(parts) > 1 else [*parts, "(no output)"])


def _command(arguments: dict[str, Any]) -> str:
    """Exactly what /bin/sh would be given."""
    return str(arguments.get("command", ""))
