"""The fork server: a process that has imported everything and forks service processes, each in 0.15 s and not in 2.

It has no event loop and no threads. Commands come as lines of JSON on standard input; what happens goes as lines of
JSON to standard output: `{"id", "port"}` when a service takes connections, `{"id", "status"}` when it is gone.
"""

import ctypes
import gc
import os
import select
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio._backends._asyncio  # noqa: F401  # or each process imports it
import msgspec
import uvicorn
import uvicorn.loops.auto
import uvloop  # noqa: F401
from litestar import Litestar

import app.server as server
import projections.reads as reads
from app.log import connections
from app.log.sql import statement
from app.settings import Settings, check
from app.telemetry import configure_logs
from tests.kills.tools import Effects, hold_answers, toolbox
from tests.kills.trap import Start, Trap, lay

LOG_CONNECTIONS_MAX = 2
VIEW_CONNECTIONS_MAX = 1
"""Each of a process; several lanes, and the dead of whom Postgres does not know yet, share a server that takes 60."""

ROOT = Path(__file__).parents[2]
_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Serves until standard input ends, then kills what it has started."""
    children: dict[int, str] = {}
    apps: dict[bytes, Prepared] = {}
    woken, wake = os.pipe()
    for end in (woken, wake):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    tell({"id": "", "port": 0})
    buffered = b""
    while True:
        ready, _, _ = select.select([0, woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            reap(children)
        if 0 in ready:
            read = os.read(0, 65536)
            if not read:
                break
            *lines, buffered = (buffered + read).split(b"\n")
            for line in lines:
                start = msgspec.json.decode(line, type=Start)
                key = msgspec.json.encode(start.settings)
                if key not in apps:
                    apps[key] = prepare(start.settings)
                    gc.collect()
                    gc.freeze()
                pid = os.fork()
                if pid == 0:
                    be_service(start, apps[key], wake)
                children[pid] = start.id
                tell({"id": start.id, "pid": pid})
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def tell(fact: dict[str, Any]) -> None:
    os.write(1, msgspec.json.encode(fact) + b"\n")  # one write: the lines of several processes do not mix


def reap(children: dict[int, str]) -> None:
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        tell({"id": children.pop(pid), "status": os.waitstatus_to_exitcode(status)})


class Prepared(msgspec.Struct, frozen=True):
    """What a start of these settings does before there is an event loop; done once, before the forks."""

    settings: Settings
    app: Litestar
    config: uvicorn.Config


def prepare(values: dict[str, Any]) -> Prepared:
    settings = check(values)
    app = server.build_app(settings, settings.database_url, server.gateway_of(settings))
    config = server.server_config(settings, app)
    config.load()
    for file in (ROOT / "app" / "log" / "sql").glob("*.sql"):
        statement(file.stem)
    return Prepared(settings, app, config)


def be_service(start: Start, prepared: Prepared, wake: int) -> None:
    """The forked child: the real service, with tools of its own and the trap. Does not return."""
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.close(wake)
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        told = os.dup(1)
        output = os.open(start.output, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for old, new in ((nothing, 0), (output, 1), (output, 2)):
            os.dup2(old, new)
        serve(start, prepared, told)
        status = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(status)


def serve(start: Start, prepared: Prepared, told: int) -> None:
    settings = prepared.settings
    configure_logs(settings.log_level)
    lay(Trap(Path(start.trap)))
    effects = Effects(Path(start.effects))
    hold_answers(effects)

    async def open_tools(*_: Any) -> Any:
        return toolbox(effects, settings.human_deadline_seconds)

    server.open_tools = open_tools
    connections.READ_POOL_CONNECTIONS_MAX = LOG_CONNECTIONS_MAX
    reads.CONNECTIONS_MAX = VIEW_CONNECTIONS_MAX
    listener = socket.create_server(("127.0.0.1", 0))

    def announce() -> None:
        fact = {"id": start.id, "port": listener.getsockname()[1]}
        os.write(told, msgspec.json.encode(fact) + b"\n")

    service = server.MinutebookServer(prepared.config, prepared.app, announce)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as `minutebook run` does
    with suppress(KeyboardInterrupt):
        service.run(sockets=[listener])


if __name__ == "__main__":
    main()
