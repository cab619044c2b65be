"""The working folder of each conversation, and paths inside it that nothing leads out of.

A path is walked from the folder's descriptor, one name after the other, and no symbolic link is followed on the way;
so a link that the shell tool puts there, even in the same moment, leads nowhere.
"""

import contextlib
import hashlib
import os
import stat
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from app.tools.tool import InvalidArguments, ToolError

PATH_CHARS_MAX = 300
DEPTH_MAX = 10
NAME_BYTES_MAX = 200

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class WorkFolders:
    """One folder for each conversation below `root`, readable for the service's user only."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()

    def folder(self, owner: str, conversation_id: str) -> Path:
        """The conversation's folder, made if there is none. Nothing of its name comes from outside."""
        digest = hashlib.sha256(f"{len(owner)}:{owner}:{conversation_id}".encode()).hexdigest()
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = self._root / digest[:32]
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder


def names_of(path: str) -> tuple[str, ...]:
    """The names on the way to `path`, the file's own last. Raises `InvalidArguments` for what leads elsewhere."""
    names = tuple(name for name in path.split("/") if name not in ("", "."))
    if path.startswith("/") or ".." in names or "\0" in path or not names:
        raise InvalidArguments(f"{path!r} is no path within the conversation's folder, like notes/plan.md.")
    if len(path) > PATH_CHARS_MAX or len(names) > DEPTH_MAX:
        raise InvalidArguments(
            f"A path may have {PATH_CHARS_MAX} characters and {DEPTH_MAX} names; "
            f"this one has {len(path)} and {len(names)}."
        )
    try:
        longest = max(len(name.encode()) for name in names)
    except UnicodeEncodeError:
        raise InvalidArguments(f"{path!r} has characters that no file name can have.") from None
    if longest > NAME_BYTES_MAX:
        raise InvalidArguments(f"A name may have {NAME_BYTES_MAX} bytes, one of this path has {longest}.")
    return names


@contextmanager
def parent_of(folder: Path, path: str, *, create: bool = False) -> Generator[tuple[int, str]]:
    """The descriptor of the folder that `path` lies in, and the name in it. Raises `ToolError`, `FileNotFoundError`.

    `create`: folders on the way are made.
    """
    *above, name = names_of(path)
    descriptor = os.open(folder, _FOLDER)
    try:
        for step in above:
            if create:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(step, 0o700, dir_fd=descriptor)
            try:
                below = os.open(step, _FOLDER, dir_fd=descriptor)
            except NotADirectoryError:  # also what Linux says of a link
                raise ToolError(f"{step!r} in {path!r} is not a folder.") from None
            except OSError as error:
                if isinstance(error, FileNotFoundError):
                    raise
                raise ToolError(f"{step!r} in {path!r} cannot be entered: {error.strerror}.") from None
            os.close(descriptor)
            descriptor = below
        yield descriptor, name
    finally:
        os.close(descriptor)


def open_file(parent: int, name: str, path: str) -> int:
    """A descriptor of the regular file, for reading. Raises `ToolError` for anything else, `FileNotFoundError`."""
    try:
        # Not blocking: a pipe would keep us waiting for its writer.
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
    except FileNotFoundError:
        raise
    except OSError as error:
        if kind_of(parent, name) == "link":
            raise ToolError(f"{path!r} is a link, and links are not followed.") from None
        raise ToolError(f"{path!r} cannot be read: {error.strerror}.") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ToolError(f"{path!r} is a folder or a device, not a file.")
    return descriptor


def kind_of(parent: int, name: str) -> str:
    """`file`, `folder`, `link`, `device` (whatever else there is), or `` for nothing."""
    try:
        mode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return ""
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "folder"
    return "link" if stat.S_ISLNK(mode) else "device"
