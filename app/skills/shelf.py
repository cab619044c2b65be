"""What stands in folders, read once and read again where it changed. Skills and agents are both kept on a shelf.

A file that cannot be used never takes another with it, nor its own last good version: it is named in `problems`.
"""

import asyncio
import os
import stat
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Generic, TypeVar

import msgspec
import structlog

from app.agents.routing import name_key
from app.core.messages import storable
from app.skills.fields import BadFile

FILE_BYTES_MAX = 256 * 1024
FILES_MAX = 1_000
LOOK_SECONDS = 1.0
WAIT_SECONDS_MAX = 5.0

logger = structlog.get_logger(__name__)

T = TypeVar("T")


class Place(msgspec.Struct, frozen=True):
    """A file that has to hold the thing of that name."""

    name: str
    file: Path


Stamp = tuple[int, int, int, int]


class _Entry(msgspec.Struct, Generic[T], frozen=True):
    """What is known of a file. `value` is its last good version; `stamp` None: read it again at the next look."""

    place: Place
    stamp: Stamp | None = None
    value: T | None = None
    problem: str = ""


class _Contents(msgspec.Struct, Generic[T], frozen=True):
    """Everything that one look found; replaced as a whole, so that readers in other threads see one look's work."""

    items: dict[str, T] = {}
    problems: tuple[str, ...] = ()
    hidden: frozenset[tuple[Path, Path]] = frozenset()


class Shelf(Generic[T]):
    """`find`, `names` and the others look only at what was loaded: await `refresh` before.

    `places` lists a folder and raises `OSError`; `read` makes a thing of a file's bytes and raises `BadFile`. Of two
    things of one name that of the later folder counts. At most 1 000 files a folder, 256 KiB a file.
    """

    def __init__(
        self,
        kind: str,
        folders: Sequence[Path],
        places: Callable[[Path], Iterable[Place]],
        read: Callable[[Place, bytes], T],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kind = kind
        self._folders = tuple(dict.fromkeys(folder.absolute() for folder in folders))
        self._places = places
        self._read = read
        self._clock = clock
        self._entries: dict[Path, _Entry[T]] = {}
        self._contents = _Contents[T]()
        self._looking: asyncio.Task[None] | None = None
        self.load()
        self._began, self._due = 0.0, clock() + LOOK_SECONDS

    @property
    def items(self) -> tuple[T, ...]:
        """In the order of their names."""
        return tuple(self._contents.items.values())

    @property
    def problems(self) -> tuple[str, ...]:
        """One sentence for each file or folder that cannot be used as it is now."""
        return self._contents.problems

    def find(self, name: str) -> T | None:
        """The thing of that name, in whatever case."""
        return self._contents.items.get(name_key(name))

    async def refresh(self) -> None:
        """Notice what has changed in the folders; looks at most once a second. Never raises.

        A look that takes over 5 seconds (a dead network drive) is no longer waited for: what is loaded then stays.
        """
        if self._looking is None:
            if self._clock() < self._due:
                return
            self._began = self._clock()
            self._looking = asyncio.create_task(self._look())
        waited_seconds = self._clock() - self._began
        await asyncio.wait({self._looking}, timeout=max(0.0, WAIT_SECONDS_MAX - waited_seconds))

    async def _look(self) -> None:
        try:
            await asyncio.to_thread(self.load)
        except Exception:
            logger.exception("files_not_looked_at", kind=self._kind)
        finally:
            self._looking, self._due = None, self._clock() + LOOK_SECONDS

    def load(self) -> None:
        """Look at all folders now. Reads files; not to be called from two threads at once."""
        entries: dict[Path, _Entry[T]] = {}
        problems: list[str] = []
        for folder in self._folders:
            for place in self._listed(folder, problems):
                entries[place.file] = self._entry(folder, place, self._entries.get(place.file))
        used: dict[str, _Entry[T]] = {}
        hidden: set[tuple[Path, Path]] = set()
        for entry in entries.values():
            if entry.problem:
                problems.append(entry.problem)
            if entry.value is None:
                continue
            if before := used.get(name_key(entry.place.name)):
                hidden.add((entry.place.file, before.place.file))
            used[name_key(entry.place.name)] = entry
        items = {name: entry.value for name, entry in sorted(used.items()) if entry.value is not None}
        contents = _Contents(items, tuple(map(storable, problems)), frozenset(hidden))
        self._tell(self._contents, contents)
        self._entries, self._contents = entries, contents

    def _listed(self, folder: Path, problems: list[str]) -> list[Place]:
        try:
            found = sorted(islice(self._places(folder), FILES_MAX + 1), key=lambda place: place.name)
        except (FileNotFoundError, NotADirectoryError):
            problems.append(f"{folder}: there is no such folder for {self._kind} files; create it.")
            return []
        except OSError as error:
            problems.append(f"{folder}: the folder cannot be read ({error.strerror}).")
            return [
                entry.place for entry in self._entries.values() if entry.place.file.is_relative_to(folder)
            ]
        if len(found) > FILES_MAX:
            problems.append(f"{folder}: more than {FILES_MAX} {self._kind} files; only some are read.")
        return found[:FILES_MAX]

    def _entry(self, folder: Path, place: Place, before: _Entry[T] | None) -> _Entry[T]:
        """What is known of the file now: what was known `before`, if its stamp has not changed."""
        file, stamp, last_good = place.file, None, before.value if before else None
        try:
            if not file.resolve(strict=True).is_relative_to(folder.resolve()):
                wrong = f"is a link out of {folder}; copy the {self._kind} into the folder."
                return _Entry(place, problem=f"{file}: {wrong}")
            status = os.stat(file)
            stamp = (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)
            if before and before.stamp == stamp:
                return before
            return _Entry(place, stamp, self._read(place, bytes_of(file, status)))
        except (FileNotFoundError, NotADirectoryError):
            return _Entry(place, problem=f"{file}: there is no such file; create it or remove its folder.")
        except (OSError, RuntimeError) as error:  # RuntimeError: links that lead in a circle
            return _Entry(place, None, last_good, f"{file}: cannot be read ({error}).")
        except BadFile as error:
            kept = " The last good version stays in use." if last_good is not None else ""
            return _Entry(place, stamp, last_good, f"{error}{kept}")

    def _tell(self, before: _Contents[T], now: _Contents[T]) -> None:
        """Log what is new since the last look."""
        # What is there at the start is no news.
        log = logger.info if before.items else logger.debug
        for name in now.items.keys() - before.items.keys():
            log("file_loaded", kind=self._kind, name=name)
        for name in before.items.keys() - now.items.keys():
            logger.info("file_gone", kind=self._kind, name=name)
        for name in now.items.keys() & before.items.keys():
            if now.items[name] != before.items[name]:
                logger.info("file_changed", kind=self._kind, name=name)
        for problem in set(now.problems) - set(before.problems):
            logger.warning("file_problem", kind=self._kind, problem=problem)
        for file, instead_of in now.hidden - before.hidden:
            logger.info("file_hidden", kind=self._kind, used=str(file), hidden=str(instead_of))


def bytes_of(file: Path, status: os.stat_result) -> bytes:
    """All of the file. Raises `BadFile` where it is too large, or none."""
    if not stat.S_ISREG(status.st_mode):
        raise BadFile(file, "is not a plain file.")
    with file.open("rb") as opened:
        data = opened.read(FILE_BYTES_MAX + 1)
    if len(data) > FILE_BYTES_MAX:
        size = max(status.st_size, len(data))
        raise BadFile(file, f"has {size} bytes, the limit is {FILE_BYTES_MAX}; make it shorter.")
    return data
