"""Servers under measurement, each a process of its own: the service, the service with one more route, plain sockets."""

import asyncio
import os
import re
import secrets
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType

import msgspec

import app
from app.bench.ground import Ground

START_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 30.0
_POLL_SECONDS = 0.02
_SERVES = re.compile(r"http://([\d.]+):(\d+)")
PRINTED_CHARS_MAX = 2_000
SERVICE = ("app.cli", "run", "--port", "0")
_NO_SETTINGS: Mapping[str, str] = MappingProxyType({})
_CROWDED = MappingProxyType({"MINUTEBOOK_SOCKETS_PER_USER": "5000"})


class Server(msgspec.Struct, frozen=True):
    """Where a running server listens. `pid` is its process."""

    host: str
    port: int
    pid: int


@asynccontextmanager
async def service(ground: Ground, dsn: str) -> AsyncGenerator[Server]:
    """`minutebook run`, as everybody starts it."""
    async with running(ground, dsn, SERVICE, settings=_CROWDED) as server:
        yield server


@asynccontextmanager
async def service_with_append(ground: Ground, dsn: str) -> AsyncGenerator[Server]:
    """The service with one more route, which appends one event (`served.py`)."""
    async with running(ground, dsn, ["app.bench.served"], settings=_CROWDED) as server:
        yield server


@asynccontextmanager
async def plain_sockets(ground: Ground, dsn: str) -> AsyncGenerator[Server]:
    """Sockets without our code on the same web server (`plain.py`)."""
    async with running(ground, dsn, ["app.bench.plain"], settings=_CROWDED) as server:
        yield server


@asynccontextmanager
async def running(
    ground: Ground,
    dsn: str,
    module: Sequence[str],
    *,
    script: bytes = b"[]",
    settings: Mapping[str, str] = _NO_SETTINGS,
) -> AsyncGenerator[Server]:
    """`module` with its arguments, in a folder of its own, with a scripted model and these settings besides.

    Raises `RuntimeError` with its output where it does not start, or has ended meanwhile.
    """
    folder = ground.folder / f"{module[0]}-{secrets.token_hex(4)}"
    folder.mkdir()
    scripted, printed = folder / "script.json", folder / "output.txt"
    scripted.write_bytes(script)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MINUTEBOOK_")}
    environment = inherited | {
        "DATABASE_URL": dsn,
        "MINUTEBOOK_DATA_DIR": str(folder),
        "MINUTEBOOK_MODEL": f"scripted:{scripted}",
        "MINUTEBOOK_LOG_LEVEL": "warning",
        "MINUTEBOOK_PORT": "0",
        "PYTHONPATH": str(Path(next(iter(app.__path__))).parent),
        "PYTHONUNBUFFERED": "1",
        **settings,
    }
    with printed.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", *module, cwd=folder, env=environment, stdout=output, stderr=output
        )
    try:
        host, port = await _address(process, printed)
        yield Server(host, port, process.pid)
        if process.returncode is not None:
            raise RuntimeError(f"a server has ended under measurement:\n{_end_of(printed)}")
    finally:
        await end(process)


async def _address(process: asyncio.subprocess.Process, printed: Path) -> tuple[str, int]:
    """Where it serves, from what it prints. Raises `RuntimeError` with its output if it ends or takes over 60 s."""
    try:
        async with asyncio.timeout(START_SECONDS_MAX):
            while process.returncode is None:
                if found := _SERVES.search(_end_of(printed)):
                    return found[1], int(found[2])
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError:
        pass
    raise RuntimeError(f"a server for the benchmark did not start:\n{_end_of(printed)}")


def _end_of(printed: Path) -> str:
    return printed.read_text(encoding="utf-8", errors="replace")[-PRINTED_CHARS_MAX:]


async def end(process: asyncio.subprocess.Process) -> None:
    """With SIGTERM; with SIGKILL after 30 s."""
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(STOP_SECONDS_MAX):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
