"""The files of an embedded Postgres: folder, lock, passwords and data, and what a dead owner left in them.

<data_dir>/             belongs to whoever runs the service
    owner.lock          flocked by the owning process for as long as it lives; holds its pid
    passwords.json      0600: the superuser's and the service role's password
    postgres.log        of this start; postgres.log.1 of the one before
    cluster/            0700: Postgres's own data folder and, as a rule, its socket
"""

import contextlib
import fcntl
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from app.database._programs import Account, EmbeddedPostgresError, spawn_options

SUPERUSER = "postgres"
SERVICE_ROLE = "minutebook"
DATABASE = "minutebook"
STAGING_PREFIX = "cluster.init-"
# Politely first, then surely: a fast shutdown writes a checkpoint, an immediate one leaves recovery to the
# next start, and SIGKILL is for a postmaster that listens to nothing.
SHUTDOWN_STEPS = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 5.0))

_INIT_SECONDS_MAX = 120
_POLL_SECONDS = 0.01
_TAIL_BYTES_MAX = 4_000
_LOCK_FILES = ("postmaster.pid", ".s.PGSQL.5432.lock")


class Passwords(msgspec.Struct, frozen=True):
    """Random, URL-safe passwords; the file that holds them is readable for its owner only."""

    superuser: str
    service: str


def lock_folder(data_dir: Path) -> int:
    """Make `data_dir` ours and return the lock's file descriptor; closing it, or dying, gives the folder up.

    Raises EmbeddedPostgresError where another process holds it, or where we may not write.
    """
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(data_dir / "owner.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise EmbeddedPostgresError(
            f"The data folder {data_dir} cannot be used: {error.strerror}."
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(lock, 32, 0).decode(errors="replace").strip() or "not known"
        os.close(lock)
        raise EmbeddedPostgresError(
            f"The data folder {data_dir} is in use by another service (process {holder}). "
            "Stop that one, or give this one a folder of its own."
        ) from error
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def server_path(cluster: Path, account: Account | None) -> str:
    """The path of `cluster` as Postgres, running in it as `account`, can resolve it."""
    return str(cluster) if account is None or sys.platform != "linux" else "/proc/self/cwd"


def open_cluster(data_dir: Path, programs: Path, account: Account | None, *, durable: bool) -> Passwords:
    """Return the passwords of the cluster in `data_dir`, creating it (about 1 s) where there is none.

    A start that was killed before the cluster was complete left only a staging folder, which goes away here.
    """
    for leftover in data_dir.glob(f"{STAGING_PREFIX}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    cluster = data_dir / "cluster"
    if not cluster.exists():
        return _create_cluster(data_dir, programs, account, durable=durable)
    if account is not None and cluster.stat().st_uid == 0:  # a copy that root made, from a backup for example
        _give_away(cluster, account)
    passwords = read_passwords(data_dir)
    if passwords is None:
        file = data_dir / "passwords.json"
        raise EmbeddedPostgresError(
            f"{cluster} holds data, but {file} with its passwords cannot be read. Restore that file."
        )
    return passwords


def read_passwords(data_dir: Path) -> Passwords | None:
    """The passwords of the cluster in `data_dir`; None where the file is missing, damaged or not for us to read."""
    try:
        return msgspec.json.decode((data_dir / "passwords.json").read_bytes(), type=Passwords)
    except (OSError, msgspec.DecodeError):
        return None


def _create_cluster(data_dir: Path, programs: Path, account: Account | None, *, durable: bool) -> Passwords:
    """Build the cluster beside its place, with role and database in it, and rename it when it is whole."""
    passwords = Passwords(superuser=secrets.token_urlsafe(24), service=secrets.token_urlsafe(24))
    staging = Path(tempfile.mkdtemp(prefix=STAGING_PREFIX, dir=data_dir))
    if account is not None:
        os.chown(staging, account.uid, account.gid)
    where = server_path(staging, account)
    locale = ["--locale=C.UTF-8"] if sys.platform == "linux" else ["--locale=C"]
    with tempfile.TemporaryFile(buffering=0) as password_file:
        password_file.write(passwords.superuser.encode())
        password_file.seek(0)
        if account is not None:  # initdb opens it again, by /dev/fd, as that user
            os.fchown(password_file.fileno(), account.uid, account.gid)
        password = password_file.fileno()
        initdb = [str(programs / "initdb"), "-D", where, "-U", SUPERUSER, f"--pwfile=/dev/fd/{password}"]
        initdb += ["-N", "--no-instructions", "-A", "scram-sha-256", "-E", "UTF8", *locale]
        _run_tool(initdb, staging, account, pass_fds=(password,))
    single = [
        str(programs / "postgres"),
        "--single",
        "-j",
        "-c",
        "exit_on_error=true",
        "-D",
        where,
        SUPERUSER,
    ]
    sql = (
        f"CREATE ROLE {SERVICE_ROLE} LOGIN PASSWORD '{passwords.service}';\n\n"
        f"CREATE DATABASE {DATABASE} OWNER {SERVICE_ROLE};\n\n"
    )
    _run_tool(single, staging, account, text=sql)
    if durable:  # all files at once (0.2 s) rather than one by one as initdb would
        _run_tool([str(programs / "initdb"), "--sync-only", "-D", where], staging, account)
    _write_private(data_dir / "passwords.json", msgspec.json.encode(passwords))
    staging.rename(data_dir / "cluster")
    _sync_folder(data_dir)
    return passwords


def _run_tool(
    command: list[str],
    folder: Path,
    account: Account | None,
    *,
    text: str = "",
    pass_fds: tuple[int, ...] = (),
) -> None:
    """Run a Postgres tool to its end; raises EmbeddedPostgresError with the end of what it said."""
    name = Path(command[0]).name
    try:
        done = subprocess.run(  # noqa: S603
            command,
            input=text.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=_INIT_SECONDS_MAX,
            pass_fds=pass_fds,
            **spawn_options(account, folder, signal.SIGKILL),
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise EmbeddedPostgresError(f"{name} could not create the database in {folder}: {error}") from error
    if done.returncode != 0:
        said = done.stdout[-_TAIL_BYTES_MAX:].decode(errors="replace")
        raise EmbeddedPostgresError(f"{name} could not create the database in {folder}:\n{said}")


def _write_private(file: Path, content: bytes) -> None:
    """Write `file` with mode 0600, durably, whole or not at all."""
    draft = file.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(file)
    _sync_folder(file.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _give_away(cluster: Path, account: Account) -> None:
    cluster.chmod(0o700)
    for folder, _, names in os.walk(cluster):
        for path in (folder, *(os.path.join(folder, name) for name in names)):
            os.lchown(path, account.uid, account.gid)


def open_log(data_dir: Path) -> int:
    """A file descriptor of a fresh server log; the log before it stays as `postgres.log.1`."""
    log = data_dir / "postgres.log"
    with contextlib.suppress(FileNotFoundError):
        log.replace(data_dir / "postgres.log.1")
    return os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def log_tail(data_dir: Path) -> str:
    """The last 4 kB of the server log, for an error's text."""
    with contextlib.suppress(OSError):
        return (data_dir / "postgres.log").read_bytes()[-_TAIL_BYTES_MAX:].decode(errors="replace").strip()
    return "(no server log)"


def read_status(cluster: Path) -> tuple[int, str] | None:
    """The postmaster's pid and state ("starting", "ready", "stopping" …) as it wrote them, if it has."""
    try:
        lines = (cluster / "postmaster.pid").read_text(errors="replace").splitlines()
        return int(lines[0]), lines[7].strip() if len(lines) > 7 else ""
    except (OSError, ValueError, IndexError):
        return None


def is_ready(cluster: Path) -> bool:
    """Whether a Postgres runs in `cluster` and takes connections, whoever owns it."""
    status = read_status(cluster)
    return status is not None and status[1] == "ready" and status[0] in _processes_in(cluster)


def end_leftovers(cluster: Path) -> None:
    """End the Postgres processes that a dead owner left in `cluster`. Only for the holder of the lock.

    They are on their way out as a rule (Linux has told them), so this mostly waits; at most 45 s.
    """
    for step, seconds in SHUTDOWN_STEPS:
        deadline = time.monotonic() + seconds
        signalled = False
        while running := _processes_in(cluster):
            if not signalled:
                status = read_status(cluster)
                # The postmaster ends its children; without one they notice that it is gone.
                for pid in {status[0]} if status and status[0] in running else running:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, step)
                signalled = True
            if time.monotonic() > deadline:
                break
            time.sleep(_POLL_SECONDS)
        if not running:
            _remove_stale_locks(cluster)
            return
    raise EmbeddedPostgresError(f"Postgres processes of an earlier start still use {cluster} and do not end.")


def _remove_stale_locks(cluster: Path) -> None:
    """Remove lock files over which Postgres would refuse to start, though no Postgres is left in the folder.

    After a reboot, or in a new container, another process may have the dead postmaster's pid; and a power cut
    can leave such a file empty. A lock file that only names a dead process is Postgres's own business.
    """
    status = read_status(cluster)
    if status is None or _is_alive(status[0]):
        for name in _LOCK_FILES:
            (cluster / name).unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _processes_in(cluster: Path) -> set[int]:
    """The pids of Postgres processes that work in `cluster`; without /proc, the postmaster's at most."""
    if sys.platform == "linux":
        return {int(entry.name) for entry in Path("/proc").glob("[0-9]*") if _works_in(entry, cluster)}
    status = read_status(cluster)
    if status is None:
        return set()
    asked = subprocess.run(  # noqa: S603
        ["/bin/ps", "-o", "comm=", "-p", str(status[0])],
        capture_output=True,
        text=True,
        check=False,
        timeout=10,
    )
    return {status[0]} if Path(asked.stdout.strip()).name == "postgres" else set()


def _works_in(entry: Path, cluster: Path) -> bool:
    """Whether the process behind /proc/<pid> is a Postgres with `cluster` as its working folder.

    The name comes first: it tells a server from somebody's shell that happens to stand there.
    """
    try:
        return (entry / "comm").read_text().strip() == "postgres" and (entry / "cwd").samefile(cluster)
    except OSError:  # gone meanwhile, or another user's
        return False
