"""The service under load: `minutebook run` with keys for all users and a model that takes time; and what it costs."""

import asyncio
import os
import re
import secrets
import statistics
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter

import msgspec

import app
from app.bench.ground import Ground
from app.bench.load_plan import TOOL_WORD, User
from app.bench.process import START_SECONDS_MAX, STOP_SECONDS_MAX, Server
from app.gateway.scripted import Answer, Rule, ScriptedCall, When

CHUNK_CHARS = 12
CHUNK_MS = 20
_LISTENS = re.compile(r"http://([\d.]+):(\d+)")
_POLL_SECONDS = 0.05
_ANSWER = (
    "You said: {last_user} Most boats of that size carry a crew of four with water and food for a week; in good "
    "weather two more may come along, and in bad weather it is better to leave a third of the load ashore."
)
SCRIPT = (
    Rule(
        Answer(tool_calls=(ScriptedCall("calculator", {"expression": "6 * 7"}),)),
        When(last_user_contains=TOOL_WORD, step=0),
    ),
    Rule(
        Answer(
            text=_ANSWER,
            thinking="A question about boats; it asks for a load and for a crew.",
            chunk_chars=CHUNK_CHARS,
            delay_ms_per_chunk=CHUNK_MS,
        )
    ),
)
"""An answer is some 30 pieces in about 0.6 s."""


@asynccontextmanager
async def service_of(ground: Ground, dsn: str, users: Sequence[User]) -> AsyncGenerator[Server]:
    """As everybody starts it, with the settings that everybody has. Raises `RuntimeError` with its output."""
    folder = ground.folder / f"load-{secrets.token_hex(4)}"
    folder.mkdir()
    script, printed = folder / "script.json", folder / "output.txt"
    script.write_bytes(msgspec.json.encode(SCRIPT))
    keys = [{"user": user.user_id, "key": user.api_key, "role": "member"} for user in users]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MINUTEBOOK_")}
    environment = inherited | {
        "DATABASE_URL": dsn,
        "MINUTEBOOK_API_KEYS": msgspec.json.encode(keys).decode(),
        "MINUTEBOOK_DATA_DIR": str(folder),
        "MINUTEBOOK_MODEL": f"scripted:{script}",
        "MINUTEBOOK_LOG_LEVEL": "warning",
        "PYTHONPATH": str(Path(next(iter(app.__path__))).parent),
        "PYTHONUNBUFFERED": "1",
    }
    with printed.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "app.cli", "run", "--port", "0"),
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=output,
        )
    try:
        yield await _listening(process, printed)
        if process.returncode is not None:
            raise RuntimeError(f"the service has ended under load:\n{_end_of(printed)}")
    finally:
        await end(process)


async def end(process: asyncio.subprocess.Process) -> None:
    """With SIGTERM; with SIGKILL after 30 s."""
    if process.returncode is None:
        process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS_MAX):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


async def _listening(process: asyncio.subprocess.Process, printed: Path) -> Server:
    clock = asyncio.get_running_loop().time
    deadline = clock() + START_SECONDS_MAX
    while process.returncode is None and clock() < deadline:
        if found := _LISTENS.search(_end_of(printed)):
            return Server(found[1], int(found[2]), process.pid)
        await asyncio.sleep(_POLL_SECONDS)
    raise RuntimeError(f"the service did not start:\n{_end_of(printed)}")


def _end_of(printed: Path) -> str:
    return printed.read_text(encoding="utf-8", errors="replace")[-2_000:]


class Watch:
    """A process as the system shows it, looked at every so often; nothing where the system has no /proc.

    `cpus` is how many CPUs it kept busy meanwhile.
    """

    def __init__(self, pid: int) -> None:
        self._folder = Path(f"/proc/{pid}")
        self.resident_kib: list[int] = []
        self.cpus = 0.0

    async def look_on(self, every_seconds: float, seconds: float) -> None:
        """For so long."""
        if not self._folder.exists():
            return
        began, cpu_began = perf_counter(), self._cpu_seconds()
        while (spent := perf_counter() - began) < seconds:
            self.resident_kib.append(self._resident_kib())
            await asyncio.sleep(min(every_seconds, seconds - spent))
        self.cpus = (self._cpu_seconds() - cpu_began) / (perf_counter() - began)

    def _resident_kib(self) -> int:
        lines = (self._folder / "status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))

    def _cpu_seconds(self) -> float:
        """Of the process itself and of the kernel for it: the 14th and 15th field of `stat`."""
        fields = (self._folder / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def flatness(samples: Sequence[float]) -> tuple[float, float]:
    """The medians of the second and of the last quarter. The first is left out: caches and pools fill there.

    Memory is flat where the second median is at most 1.05 times the first. The rule is ours: a leak of 5 % in the
    minute between the two doubles the service's memory in a quarter of an hour, and what the allocator does moves the
    medians by less.
    """
    quarter = len(samples) // 4
    if quarter == 0:
        raise ValueError(f"{len(samples)} samples are too few for quarters: four or more are needed")
    return statistics.median(samples[quarter : 2 * quarter]), statistics.median(samples[-quarter:])
