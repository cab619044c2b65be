"""The bytes of uploaded files, by their content: two users with the same bytes share one blob.

    begin ─► drafts/RANDOM ─► publish ─► pending/SHA256, blobs/ab/SHA256 ─► (the event is appended) ─► settle
                │ process dies                     │ process dies
                └─► swept at the next start        └─► looked up in the log at the next start, dropped if not in it

Whoever writes a draft, or has published a blob that is not settled, holds a lock (flock) that ends with its process; so
a sweep takes only what is nobody's, also where several nodes share the folder. Every function here blocks: call it in a
thread.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import secrets
from collections.abc import Generator
from pathlib import Path
from typing import BinaryIO

import msgspec

DRAFT_BUFFER_BYTES = 256 * 1024
_SHA256 = re.compile(r"[0-9a-f]{64}")
_STORED_NAME = re.compile(r"[0-9a-f]{32}(\.[A-Za-z0-9]{1,10})?")


class Draft:
    """A file that is being received. Nothing of it counts before it is published."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path = path
        self.size_bytes = 0
        self._file = file
        self._digest = hashlib.sha256()

    def write(self, data: bytes) -> None:
        """Raises `OSError`, for example where the disk is full."""
        self._file.write(data)
        self._digest.update(data)
        self.size_bytes += len(data)

    def finish(self) -> str:
        """On disk, and read no further; its SHA-256. Raises `OSError`."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._digest.hexdigest()

    def close(self) -> None:
        """What has not been published is gone."""
        with contextlib.suppress(OSError):  # what a full disk left in the buffer
            self._file.close()
        self.path.unlink(missing_ok=True)


class Published(msgspec.Struct, frozen=True):
    """A blob that is there, and that the log may not know yet. `lock` is a descriptor."""

    sha256: str
    lock: int


class FileStore:
    """The folder of uploads. `prepare` once before use."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._drafts = folder / "drafts"
        self._pending = folder / "pending"
        self._blobs = folder / "blobs"

    def prepare(self) -> int:
        """Make the folders and sweep drafts whose process has gone; returns how many. Raises `OSError`."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (self._drafts, self._pending, self._blobs):
            folder.mkdir(mode=0o700, exist_ok=True)
        swept = 0
        for path in self._drafts.iterdir():
            with _locked_if_free(path) as free:
                if free:
                    path.unlink(missing_ok=True)
                    swept += 1
        return swept

    def begin(self) -> Draft:
        """A new draft, for its process alone. Raises `OSError`."""
        while True:
            path = self._drafts / secrets.token_hex(16)
            file = open(path, "xb", buffering=DRAFT_BUFFER_BYTES)  # noqa: SIM115 (the draft closes it)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:  # a sweep was faster, and is removing it
                file.close()
                continue
            if _is_at(file.fileno(), path):
                return Draft(path, file)
            file.close()

    def publish(self, draft: Draft) -> Published:
        """Give a finished draft its place, once and for all. Then append the event, then `settle`. Raises `OSError`."""
        sha256 = draft.finish()
        lock = self._hold(sha256)
        try:
            blob = self._blob(sha256)
            blob.parent.mkdir(mode=0o700, exist_ok=True)
            if not (blob.is_file() and blob.stat().st_size == draft.size_bytes):
                os.replace(draft.path, blob)
            _sync(blob.parent)
            _sync(self._blobs)
        except OSError:
            os.close(lock)
            raise
        return Published(sha256, lock)

    def settle(self, published: Published) -> None:
        """The log has it."""
        try:
            fcntl.flock(published.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            (self._pending / published.sha256).unlink(missing_ok=True)
        except BlockingIOError:
            pass  # somebody else publishes the same just now, and will settle it
        finally:
            os.close(published.lock)

    def leave(self, published: Published) -> None:
        """Whether the log has it is not known: the next start finds out."""
        os.close(published.lock)

    def unsettled(self) -> list[str]:
        """What was published by processes that are gone, by SHA-256."""
        return [path.name for path in self._pending.iterdir() if _SHA256.fullmatch(path.name)]

    @contextlib.contextmanager
    def claimed(self, sha256: str) -> Generator[bool]:
        """Whether nobody is publishing this content; meanwhile nobody else can. Then `settle_claimed` it."""
        with _locked_if_free(self._pending / sha256) as free:
            yield free

    def settle_claimed(self, sha256: str, *, keep: bool) -> None:
        """What was published and left is known to the log (`keep`), or is dropped."""
        if not keep:
            self._blob(sha256).unlink(missing_ok=True)
        (self._pending / sha256).unlink(missing_ok=True)

    def open(self, stored_name: str, sha256: str) -> BinaryIO:
        """For reading. Files of the first release lie under their stored names. Raises `FileNotFoundError`."""
        for path in self._places(stored_name, sha256):
            with contextlib.suppress(FileNotFoundError):
                return open(path, "rb")
        raise FileNotFoundError(stored_name)

    def _places(self, stored_name: str, sha256: str) -> list[Path]:
        places: list[Path] = []
        if _SHA256.fullmatch(sha256):
            places.append(self._blob(sha256))
        if _STORED_NAME.fullmatch(stored_name):
            places.append(self._folder / stored_name)
        return places

    def _blob(self, sha256: str) -> Path:
        return self._blobs / sha256[:2] / sha256

    def _hold(self, sha256: str) -> int:
        """The descriptor of a shared lock that no sweep gets past."""
        path = self._pending / sha256
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            if _is_at(descriptor, path):
                _sync(self._pending)
                return descriptor
            os.close(descriptor)


@contextlib.contextmanager
def _locked_if_free(path: Path) -> Generator[bool]:
    """Whether nobody holds the file; it is held meanwhile."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        yield False
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            free = False
        else:
            free = _is_at(descriptor, path)
        yield free
    finally:
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the open file is still the one of that name."""
    try:
        named = path.stat()
    except FileNotFoundError:
        return False
    opened = os.fstat(descriptor)
    return (named.st_dev, named.st_ino) == (opened.st_dev, opened.st_ino)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
