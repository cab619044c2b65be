"""The service under load: `minutebook run` with keys for all users and a model that takes time; and what it costs."""

import asyncio
import os
import re
import statistics
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter

import msgspec

from app.bench.ground import Ground
from app.bench.load_plan import TOOL_WORD, User
from app.bench.process import SERVICE, Server, running
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
    keys = [{"user": user.user_id, "key": user.api_key, "role": "member"} for user in users]
    settings = {"MINUTEBOOK_API_KEYS": msgspec.json.encode(keys).decode()}
    async with running(ground, dsn, SERVICE, script=msgspec.json.encode(SCRIPT), settings=settings) as server:
        yield server


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
