"""Programs in processes that are forked from one that has imported the service: that is most of what a start costs.

What is forked has run no line of the program: it runs as `python -m` runs it, with its own arguments and environment.
"""

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.support.imported"])


class Forked:
    """What tests use of `subprocess.Popen`; standard error goes to `stdout`, too."""

    def __init__(
        self, module: str, arguments: Sequence[str], folder: Path, environment: Mapping[str, str]
    ) -> None:
        """Raises nothing of the program's: it prints what it does not like, and ends."""
        read, write = _CONTEXT.Pipe(duplex=False)
        self._process = _CONTEXT.Process(
            target=_run, args=(write, module, list(arguments), str(folder), dict(environment)), daemon=True
        )
        self._process.start()
        write.close()
        self.stdout = os.fdopen(os.dup(read.fileno()), encoding="utf-8")
        read.close()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """Its exit code, minus the signal's number if that ended it; None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float) -> int:
        """Raises `TimeoutExpired` after so many seconds."""
        self._process.join(timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired([str(self.pid)], timeout)
        return code

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _run(
    output: Connection, module: str, arguments: list[str], folder: str, environment: dict[str, str]
) -> None:
    """In the child."""
    for stream in (sys.stdout, sys.stderr):
        os.dup2(output.fileno(), stream.fileno())
    sys.stdout.reconfigure(write_through=True)
    output.close()
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv[1:] = arguments
    sys.modules.pop(module, None)
    runpy.run_module(module, run_name="__main__", alter_sys=True)
