"""What the harness and the service process share. The trap: a few bytes that say where the process has to die.

It is in the appender: before a batch goes to the database, or when it is committed and nobody has been told.
"""

import mmap
import os
import signal
import struct
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from app.log.append import Appender
from app.log.batch import Waiting
from app.log.errors import LeaseLost

Moment = Literal["before", "after"]
_LAYOUT = struct.Struct("<qqqdq400s")  # n-th append, after?, appends so far, time of death, fenced, stream
_COUNT_AT, _DEATH_AT, _FENCED_AT = 16, 24, 32


class Start(msgspec.Struct, frozen=True):
    """Start a service. `settings` as in the environment; `effects`: folder of `Effects`; `trap`, `output`: files."""

    id: str
    settings: dict[str, Any]
    effects: str
    trap: str
    output: str


class Trap:
    """`arm` is for the harness, `spring` for the process. Not armed, it counts the appends to the stream."""

    def __init__(self, file: Path) -> None:
        if not file.exists():
            file.write_bytes(bytes(_LAYOUT.size))
        with file.open("r+b") as opened:
            self._memory = mmap.mmap(opened.fileno(), _LAYOUT.size)

    def arm(self, nth: int = 0, moment: Moment = "before", stream: str = "") -> None:
        """Die at the `nth` append from now on; 0: never. Without `stream` all appends count."""
        _LAYOUT.pack_into(self._memory, 0, 0, 0, 0, 0.0, 0, b"")
        _LAYOUT.pack_into(self._memory, 0, nth, moment == "after", 0, 0.0, 0, stream.encode())

    @property
    def count(self) -> int:
        """The appends so far."""
        return _LAYOUT.unpack_from(self._memory)[2]

    @property
    def died_at(self) -> float | None:
        """When the trap killed the process, in seconds of `time.time()`."""
        return _LAYOUT.unpack_from(self._memory)[3] or None

    @property
    def fenced(self) -> int:
        """The appends that were refused because the lease had gone to somebody else."""
        return _LAYOUT.unpack_from(self._memory)[4]

    def decided(self, results: Sequence[object]) -> None:
        fenced = self.fenced + sum(isinstance(result, LeaseLost) for result in results)
        struct.pack_into("<q", self._memory, _FENCED_AT, fenced)

    def before(self, appends: Collection[Waiting]) -> None:
        nth, after, count, _, _, stream = _LAYOUT.unpack_from(self._memory)
        concerned = self._concerned(appends, stream)
        if concerned and not after and count < nth <= count + concerned:
            self._spring()
        struct.pack_into("<q", self._memory, _COUNT_AT, count + concerned)

    def after(self, appends: Collection[Waiting]) -> None:
        nth, after, count, _, _, stream = _LAYOUT.unpack_from(self._memory)
        concerned = self._concerned(appends, stream)
        if concerned and after and 0 < nth <= count:
            self._spring()

    def _concerned(self, appends: Collection[Waiting], padded: bytes) -> int:
        stream = padded.rstrip(b"\0").decode()
        return sum(not stream or waiting.stream == stream for waiting in appends)

    def _spring(self) -> None:
        struct.pack_into("<d", self._memory, _DEATH_AT, time.time())
        os.kill(os.getpid(), signal.SIGKILL)
        signal.pause()


def lay(trap: Trap) -> None:
    """Put the trap into the appenders of this process."""
    write, acknowledge, settle = Appender._write, Appender._acknowledge, Appender._settle

    async def trapped_write(self: Appender, writer: Any, appends: list[Waiting], streams: list[str]) -> None:
        trap.before(appends)
        await write(self, writer, appends, streams)

    def trapped_acknowledge(self: Appender, appends: list[Waiting], *rest: Any) -> None:
        trap.after(appends)
        acknowledge(self, appends, *rest)

    def watched_settle(self: Appender, appends: list[Waiting], decided: Sequence[Any]) -> None:
        trap.decided(decided)
        settle(self, appends, decided)

    Appender._write, Appender._acknowledge, Appender._settle = (
        trapped_write,
        trapped_acknowledge,
        watched_settle,
    )
