"""The real service as a process of its own, as a stranger would start it."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import httpx
import msgspec

from tests.support.databases import TestServer
from tests.support.forked import Forked

START_SECONDS_MAX = 60
STOP_SECONDS_MAX = 30
ROOT = Path(__file__).parents[2]


class Service:
    """A running `minutebook run`. `url` is where it serves; `output` what it printed so far. `module`: another program
    with the same commands. `fresh`: in a new interpreter, which takes a second longer than a forked one."""

    def __init__(
        self,
        environment: Mapping[str, str],
        folder: Path,
        module: str = "app.cli",
        *,
        fresh: bool = False,
    ) -> None:
        self._module = module
        self._fresh = fresh
        self.dsn = environment.get("DATABASE_URL")
        self.data_dir = folder
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("MINUTEBOOK_")},
            "MINUTEBOOK_DATA_DIR": str(folder),
            "MINUTEBOOK_CONFIG": "",
            "PYTHONUNBUFFERED": "1",
            **environment,
        }
        self.output: list[str] = []
        self.url = ""

    def start(self, *, port: int = 0) -> Self:
        """Returns when it takes connections."""
        arguments = ["run", "--port", str(port)]
        if self._fresh:
            self.process = subprocess.Popen(
                [sys.executable, "-m", self._module, *arguments],
                cwd=ROOT,
                env=self._environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        else:
            self.process = Forked(self._module, arguments, ROOT, self._environment)
        lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.reader = threading.Thread(target=self._read, args=(lines,), daemon=True)
        self.reader.start()
        while not self.url or not any(line.startswith("model ") for line in self.output):
            line = lines.get(timeout=START_SECONDS_MAX)
            if line is None:
                raise AssertionError("the service ended:\n" + "".join(self.output))
            if line.startswith("Minutebook   "):
                self.url = line.split()[-1]
        return self

    def _read(self, lines: queue.SimpleQueue[str | None]) -> None:
        assert self.process.stdout is not None
        with self.process.stdout:
            for line in self.process.stdout:
                self.output.append(line)
                lines.put(line)
        lines.put(None)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def socket_url(self) -> str:
        return self.url.replace("http", "ws", 1)

    def client(self, **options: Any) -> httpx.AsyncClient:
        """`verify` off: it would read all certificates that the system believes, for 40 ms of the processor."""
        return httpx.AsyncClient(base_url=self.url + "/api/v1", timeout=30, verify=False, **options)

    def kill(self) -> None:
        """SIGKILL, as the kernel does it."""
        self.process.kill()
        self.process.wait(STOP_SECONDS_MAX)

    def stop(self) -> int:
        """SIGTERM and wait; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS_MAX)


@contextmanager
def running_service(
    folder: Path,
    dsn: str | None = None,
    *,
    module: str = "app.cli",
    fresh: bool = False,
    **settings: str,
) -> Iterator[Service]:
    """A service on the database `dsn`, or on an embedded one in `folder`; ended afterwards, gently."""
    environment = {f"MINUTEBOOK_{name.upper()}": value for name, value in settings.items()}
    if dsn is not None:
        environment["DATABASE_URL"] = dsn
    service = Service(environment, folder, module, fresh=fresh)
    try:
        yield service.start()
    finally:
        if hasattr(service, "process"):
            try:
                service.stop()
            except subprocess.TimeoutExpired:
                service.kill()
            service.reader.join()


@contextmanager
def running_pair(server: TestServer, folder: Path, **settings: str) -> Iterator[tuple[Service, Service]]:
    """Two processes on one database of their own, with one data folder."""
    with (
        server.database() as dsn,
        running_service(folder, dsn, **settings) as one,
        running_service(folder, dsn, **settings) as other,
    ):
        yield one, other


def script(folder: Path, rules: list[dict[str, Any]]) -> str:
    """The setting `model` for a scripted model with these rules (`app/gateway/scripted.py`)."""
    path = folder / "script.json"
    path.write_text(json.dumps(rules), encoding="utf-8")
    return f"scripted:{path}"


def decoded(frame: str | bytes) -> dict[str, Any]:
    """A frame as a dictionary."""
    return msgspec.json.decode(frame, type=dict[str, Any])
