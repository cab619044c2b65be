"""Where tests keep their files: in memory, where there is enough of it.

Each test has a database of its own, which is some 300 files made and deleted again. ext4 looks long for an inode that
was not deleted a moment ago: that took half of the time of all tests.
"""

import os
import shutil
import tempfile
from pathlib import Path

IN_MEMORY = Path("/dev/shm")
FREE_BYTES_MIN = 4 * 1024**3
_PREFIX = "mb-"  # short: the path of a socket has a limit


def usable(folder: Path) -> bool:
    """Whether files may be made and programs run there, and there is room for all tests."""
    if not os.access(folder, os.W_OK | os.X_OK):
        return False
    mount = os.statvfs(folder)
    return not mount.f_flag & os.ST_NOEXEC and mount.f_bavail * mount.f_frsize >= FREE_BYTES_MIN


def keep_in_memory() -> Path | None:
    """Make a folder for everything temporary of this process and its children; None where there is no room for it."""
    if "TMPDIR" in os.environ or not usable(IN_MEMORY):
        return None
    _remove_left_over()
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=IN_MEMORY))
    folder.chmod(0o711)  # Postgres runs as somebody else where the tests are root's
    os.environ["TMPDIR"] = str(folder)
    tempfile.tempdir = None
    return folder


def _remove_left_over() -> None:
    """What killed processes could not remove."""
    for folder in IN_MEMORY.glob(f"{_PREFIX}*"):
        pid = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if pid.isdecimal() and not Path("/proc", pid).exists():
            shutil.rmtree(folder, ignore_errors=True)
