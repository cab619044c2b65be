"""Servers under measurement, each a process of its own: the service, the service with one more route, plain sockets."""

import asyncio
import os
import re
import secrets
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

import app
from app.bench.ground import Ground

START_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 30.0
_POLL_SECONDS = 0.02
_SERVES = re.compile(r"http://([\d.]+):(\d+)")
SOCKETS_MAX = 5_000


class Server(msgspec.Struct, frozen=True):
    """Where a running server listens. `pid` is its process."""

    host: str
    port: int
    pid: int


@asynccontextmanager
async def service(ground: Ground, dsn: str) -> AsyncGenerator[Server]:
    """`minutebook run`, as everybody starts it."""
    async with _running(ground, dsn, ["app.cli", "run", "--port", "0"]) as server:
        yield server


@asynccontextmanager
async def service_with_append(ground: Ground, dsn: str) -> AsyncGenerator[Server]:
    """The service with one more route, which appends one event (`served.py`)."""
    async with _running(ground, dsn, ["app.bench.served"]) as server:
        yield server


@asynccontextmanager
async def plain_sockets(ground: Ground, dsn: str) -> AsyncGenerator[Server]:
    """Sockets without our code on the same web server (`plain.py`)."""
    async with _running(ground, dsn, ["app.bench.plain"]) as server:
        yield server


@asynccontextmanager
async def _running(ground: Ground, dsn: str, module: list[str]) -> AsyncGenerator[Server]:
    folder = ground.folder / f"{module[0]}-{secrets.token_hex(4)}"
    folder.mkdir()
    script, printed = folder / "script.json", folder / "output.txt"
    script.write_text("[]", encoding="utf-8")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MINUTEBOOK_")}
    environment = inherited | {
        "DATABASE_URL": dsn,
        "MINUTEBOOK_DATA_DIR": str(folder),
        "MINUTEBOOK_MODEL": f"scripted:{script}",
        "MINUTEBOOK_LOG_LEVEL": "warning",
        "MINUTEBOOK_PORT": "0",
        "MINUTEBOOK_SOCKETS_PER_USER": str(SOCKETS_MAX),
        "PYTHONPATH": str(Path(next(iter(app.__path__))).parent),
        "PYTHONUNBUFFERED": "1",
    }
    with printed.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", *module, cwd=folder, env=environment, stdout=output, stderr=output
        )
    try:
        host, port = await _address(process, printed)
        yield Server(host, port, process.pid)
    finally:
        await _stop(process)


async def _address(process: asyncio.subprocess.Process, printed: Path) -> tuple[str, int]:
    """Where it serves, from what it prints. Raises `RuntimeError` with its output if it ends or takes over 60 s."""
    try:
        async with asyncio.timeout(START_SECONDS_MAX):
            while process.returncode is None:
                if found := _SERVES.search(_text(printed)):
                    return found[1], int(found[2])
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError:
        pass
    raise RuntimeError(f"a server for the benchmark did not start:\n{_text(printed)[-2_000:]}")


def _text(printed: Path) -> str:
    return printed.read_text(encoding="utf-8", errors="replace")


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(STOP_SECONDS_MAX):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
