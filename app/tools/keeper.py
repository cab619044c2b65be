"""Runs a program and ends, together with it, everything that it started. A script of its own, and how to call it.

    service ── keeper ── program ── its children, and theirs

The keeper ends the whole tree when the program ends, when it is told to (SIGTERM), and when the service is gone, even
by SIGKILL. On Linux, what leaves the program's process group is found too: orphans come to the keeper. Elsewhere the
keeper looks once a second whether the service is still there, and ends the group.

It is run by path, without site packages (about 20 ms), so this file imports nothing but the standard library.
"""

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_LOOK_SECONDS = 1.0
_NOT_STARTED = 127
_SIGNALLED = 128

_KNOWN_LIMITS = {
    "cpu_seconds": resource.RLIMIT_CPU,
    "file_bytes": resource.RLIMIT_FSIZE,
    "processes": resource.RLIMIT_NPROC,
    "core_bytes": resource.RLIMIT_CORE,
}


def kept(
    command: Sequence[str], *, grace_seconds: float, limits: Mapping[str, int] | None = None
) -> list[str]:
    """The command line that runs `command` (looked up in PATH) in a keeper, for a child of this process.

    Its exit code is the program's, or 128 + the signal that ended it; 127 if it could not be started.
    `grace_seconds`: how long the program has between SIGTERM and SIGKILL. `limits`, for each process: `cpu_seconds`,
    `file_bytes`, `core_bytes`; and `processes` of this user, which does not bind root. Start it from a thread that
    lives as long as the program: Linux takes the thread's end for the parent's.
    """
    options = {"parent": os.getpid(), "grace_seconds": grace_seconds, "limits": dict(limits or {})}
    return [sys.executable, "-I", "-S", __file__, json.dumps(options), *command]


def main(encoded: str, command: list[str]) -> int:
    options = json.loads(encoded)
    parent: int = options["parent"]
    waker, told = _listen_to_signals()
    _die_with_parent(signal.SIGTERM)
    if os.getppid() != parent:  # it died before the call above
        return _NOT_STARTED
    _adopt_orphans()
    program = os.fork()
    if program == 0:
        _become(command, options["limits"])
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):  # the pipes are the program's: they close when it closes them
        os.dup2(nothing, descriptor)
    codes: dict[int, int] = {}
    while not _reap(codes, program) and not told and os.getppid() == parent:
        _rest(waker, _LOOK_SECONDS)
    if program not in codes:
        _signal_group(program, signal.SIGTERM)
        deadline = time.monotonic() + float(options["grace_seconds"])
        while not _reap(codes, program) and (left := deadline - time.monotonic()) > 0:
            _rest(waker, left)
    _end_all(codes, program)
    return codes.get(program, _NOT_STARTED)


def _listen_to_signals() -> tuple[int, list[int]]:
    """A descriptor that can be read after a signal, and the signals to stop that have come."""
    waker, waking = os.pipe()
    os.set_blocking(waker, False)
    os.set_blocking(waking, False)
    signal.set_wakeup_fd(waking, warn_on_full_buffer=False)
    told: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda which, _: told.append(which))
    signal.signal(signal.SIGCHLD, lambda number, _: None)
    return waker, told


def _rest(waker: int, seconds: float) -> None:
    select.select([waker], [], [], seconds)
    with contextlib.suppress(BlockingIOError):
        os.read(waker, 4_096)


def _become(command: list[str], limits: Mapping[str, int]) -> None:
    """In the child: this program from now on. Does not return."""
    keeper = os.getppid()
    try:
        os.setsid()
        _die_with_parent(signal.SIGKILL)
        if os.getppid() != keeper:
            os._exit(_NOT_STARTED)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and that would be inherited
            signal.signal(number, signal.SIG_DFL)
        for name, value in limits.items():
            _, hard = resource.getrlimit(_KNOWN_LIMITS[name])
            most = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(_KNOWN_LIMITS[name], (most, most))
        os.execvp(command[0], command)  # noqa: S606
    except OSError as error:
        os.write(2, f"{command[0]} could not be started: {error.strerror}\n".encode())
    finally:
        os._exit(_NOT_STARTED)


def _reap(codes: dict[int, int], program: int) -> bool:
    """Clear away what has ended. Whether the program has; its code is in `codes` then."""
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0] != 0:
            _note(codes, program, *ended)
    return program in codes


def _end_all(codes: dict[int, int], program: int) -> None:
    """Kill whatever is left: what leaves a killed parent comes to us, and is killed in the next round."""
    _signal_group(program, signal.SIGKILL)
    while True:
        for pid in _children() if program in codes else _children() | {program}:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        try:
            _note(codes, program, *os.waitpid(-1, 0))
        except ChildProcessError:
            return


def _note(codes: dict[int, int], program: int, ended: int, status: int) -> None:
    if ended == program:
        code = os.waitstatus_to_exitcode(status)
        codes[program] = code if code >= 0 else _SIGNALLED - code


def _signal_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _children() -> set[int]:
    """Our own children and the orphans that came to us. Empty where there is no /proc."""
    found: set[int] = set()
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):
            # After the name, which may hold anything: state, parent
            if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == os.getpid():
                found.add(int(entry.name))
    return found


def _die_with_parent(number: signal.Signals) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)


def _adopt_orphans() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
