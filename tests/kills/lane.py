"""A lane: a database of its own and one service process at a time, which is killed and started again."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import msgspec
import psutil

from app.log.read import LogReader
from tests.kills.meetings import EXPERTS
from tests.kills.scenarios import RULES, SKILLS
from tests.kills.tools import Effects
from tests.kills.trap import Start, Trap
from tests.support.logs import until

ROOT = Path(__file__).parents[2]
LEASE_SECONDS = 0.4
START_SECONDS_MAX = 60.0
SKILL = """---
name: {name}
description: For the kill harness.
mode: {mode}
---
Goal: to be killed and to go on.
"""
EXPERT = """name = "{name}"
persona = "You take part in the meetings of the kill harness."
is_moderator = {moderates}
"""


class Death(msgspec.Struct, frozen=True):
    """`at`: seconds of `time.time()`. `status`: minus the signal."""

    at: float
    status: int


class Forks:
    """The fork server, as its users see it."""

    def __init__(self, process: asyncio.subprocess.Process, folder: Path) -> None:
        self.folder = folder
        self._process = process
        self._waiting: dict[tuple[str, str], asyncio.Future[Any]] = {}
        self._reader = asyncio.create_task(self._read(), name="forks")
        self._number = 0
        self._closing = False

    async def start(self, settings: dict[str, Any], effects: Path, trap: Path, output: Path) -> "Victim":
        """Forks a service; it may not take connections yet."""
        self._number += 1
        start = Start(f"{self._number}", settings, str(effects), str(trap), str(output))
        victim = Victim(*(self.expect(start.id, fact) for fact in ("pid", "port", "status")))
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(start) + b"\n")
        return victim

    def expect(self, id: str, fact: str) -> asyncio.Future[Any]:
        return self._waiting.setdefault((id, fact), asyncio.get_running_loop().create_future())

    async def close(self) -> None:
        self._closing = True
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()
        await self._reader

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            told = msgspec.json.decode(line)
            id = told.pop("id")
            for fact, value in told.items():
                waiting = self._waiting.pop((id, fact), None)
                if waiting is not None and not waiting.done():
                    waiting.set_result((value, time.time()))
        status = await self._process.wait()
        for waiting in self._waiting.values() if not self._closing else ():
            if not waiting.done():
                waiting.set_exception(AssertionError(f"the fork server ended: {status}"))


class Victim:
    """A service process from its fork to its death."""

    def __init__(
        self, pid: asyncio.Future[Any], port: asyncio.Future[Any], status: asyncio.Future[Any]
    ) -> None:
        self._pid, self._port, self._status = pid, port, status

    async def pid(self) -> int:
        return (await self._pid)[0]

    async def port(self) -> int | None:
        """When it takes connections; None if it died before."""
        async with asyncio.timeout(START_SECONDS_MAX):
            await asyncio.wait({self._port, self._status}, return_when=asyncio.FIRST_COMPLETED)
        return None if self._status.done() else self._port.result()[0]

    @property
    def dead(self) -> bool:
        return self._status.done()

    async def death(self) -> Death:
        status, at = await asyncio.shield(self._status)
        return Death(at, status)

    async def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        os.kill(await self.pid(), number)


class Lane:
    """`kills`: when the process died, in seconds of `time.time()`. Clients find the living process through it.

    Two lanes on one database share the folder `effects`.
    """

    def __init__(self, forks: Forks, name: str, dsn: str, reader: LogReader, *, effects: str = "") -> None:
        self.name = name
        self.dsn = dsn
        self.reader = reader
        self.forks_folder = forks.folder
        self.folder = forks.folder / name
        self.folder.mkdir(exist_ok=True)
        self._effects_folder = forks.folder / (effects or name)
        self.effects = Effects(self._effects_folder)
        self._trap_file = self.folder / "trap"
        self.trap = Trap(self._trap_file)
        self.kills: list[float] = []
        self._forks = forks
        self._victim: Victim | None = None
        self._client: httpx.AsyncClient | None = None
        self._up = asyncio.Event()
        self._settings: dict[str, Any] = {}
        self.url = ""

    @property
    def output(self) -> Path:
        """What the processes wrote: warnings and errors."""
        return self.folder / "output"

    def errors(self) -> list[str]:
        """What they wrote that is more than a warning. Two threads' lines may stand on one, then an empty one."""
        lines = self.output.read_text(encoding="utf-8").splitlines() if self.output.exists() else []
        more = ('"level": "error"', '"level": "critical"')
        return [
            line
            for line in lines
            if line and ('"level": "warning"' not in line or any(level in line for level in more))
        ]

    @property
    def victim(self) -> Victim:
        assert self._victim is not None
        return self._victim

    def alive(self, settings: dict[str, str]) -> bool:
        """Whether a process with these settings runs."""
        return self._victim is not None and not self._victim.dead and self._settings == settings

    async def start(self, settings: dict[str, str]) -> None:
        """Starts a process; returns when it takes connections, or is dead already."""
        self._settings = settings
        configured = {
            "database_url": self.dsn,
            "data_dir": str(self.folder),
            "model": f"scripted:{self._forks.folder / 'rules.json'}",
            "skills_dirs": [str(self._forks.folder / "skills")],
            "experts_dir": str(self._forks.folder / "experts"),
            "lease_seconds": LEASE_SECONDS,
            "log_level": "warning",
            **settings,
        }
        files = (self._effects_folder, self._trap_file, self.output)
        self._victim = await self._forks.start(configured, *files)
        port = await self._victim.port()
        if port is not None:
            self.url = f"http://127.0.0.1:{port}"
            self._client = httpx.AsyncClient(
                base_url=f"{self.url}/api/v1", timeout=60, verify=False, trust_env=False
            )
            self._up.set()
        elif (await self._victim.death()).status != -signal.SIGKILL:
            raise AssertionError(f"the service did not start; see {self.output}")

    async def death(self) -> None:
        """Waits for the process to die, and takes note of it."""
        death = await self.victim.death()
        self._up.clear()
        if death.status != -signal.SIGKILL:
            raise AssertionError(f"the service ended by itself: {death.status}; see {self.output}")
        self.kills.append(self.trap.died_at or death.at)
        await self._disconnect()

    async def freeze(self) -> None:
        """SIGSTOP; returns when it stands still."""
        await self.victim.kill(signal.SIGSTOP)
        process = psutil.Process(await self.victim.pid())

        async def still() -> bool:
            return process.status() == psutil.STATUS_STOPPED

        await until(still)

    async def wake(self) -> None:
        await self.victim.kill(signal.SIGCONT)

    async def terminate(self) -> None:
        """SIGTERM, and wait for its end. Raises `AssertionError` if it was not a good one."""
        await self.victim.kill(signal.SIGTERM)
        status = (await self.victim.death()).status
        self._up.clear()
        await self._disconnect()
        if status != 0:
            raise AssertionError(f"the service ended with {status}; see {self.output}")

    async def stop(self) -> None:
        """Kills the process, if there is one, without taking note."""
        self._up.clear()
        if self._victim is not None and not self._victim.dead:
            await self._victim.kill()
            await self._victim.death()
        await self._disconnect()

    async def connected(self) -> httpx.AsyncClient:
        await self._up.wait()
        assert self._client is not None
        return self._client

    async def _disconnect(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None


def held_back(folder: Path) -> dict[str, Any]:
    """The rule of a model call that waits in the middle for the file `model-gate`."""
    answer = {
        "text": "A thought, and its end.",
        "chunk_chars": 5,
        "wait_for_file": str(folder / "model-gate"),
        "hold_after_chunks": 2,
    }
    return {"when": {"last_user_contains": "please think"}, "answer": answer}


@asynccontextmanager
async def running_forks(folder: Path) -> AsyncGenerator[Forks]:
    """A fork server, with the script and the skills of the scenarios in `folder`."""
    (folder / "rules.json").write_bytes(msgspec.json.encode([held_back(folder), *RULES]))
    for name, mode in SKILLS.items():
        (folder / "skills" / name).mkdir(parents=True)
        (folder / "skills" / name / "SKILL.md").write_text(
            SKILL.format(name=name, mode=mode), encoding="utf-8"
        )
    (folder / "experts").mkdir()
    for id, name in EXPERTS.items():
        moderates = "true" if id == next(iter(EXPERTS)) else "false"
        (folder / "experts" / f"{id}.toml").write_text(
            EXPERT.format(name=name, moderates=moderates), encoding="utf-8"
        )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.kills.forks"),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    forks = Forks(process, folder)
    try:
        await asyncio.wait_for(forks.expect("", "port"), START_SECONDS_MAX)
        yield forks
    finally:
        await forks.close()


@asynccontextmanager
async def open_lane(forks: Forks, name: str, dsn: str, *, effects: str = "") -> AsyncGenerator[Lane]:
    async with asyncpg.create_pool(dsn, min_size=1, max_size=1) as pool:
        lane = Lane(forks, name, dsn, LogReader(pool), effects=effects)
        try:
            yield lane
        finally:
            await lane.stop()


@asynccontextmanager
async def running_pair(
    folder: Path, dsn: str, names: tuple[str, str], **settings: str
) -> AsyncGenerator[tuple[Lane, Lane]]:
    """Two processes on one database, which share what tools did."""
    async with (
        running_forks(folder) as forks,
        open_lane(forks, names[0], dsn, effects="shared") as one,
        open_lane(forks, names[1], dsn, effects="shared") as other,
    ):
        await asyncio.gather(one.start(settings), other.start(settings))
        yield one, other
