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
from uuid import UUID

import msgspec

from app.core.envelope import NewEvent
from app.core.events import RunClaimed
from app.log.append import Appender
from app.log.batch import Appended, Waiting
from app.log.errors import LeaseLost

Moment = Literal["before", "after"]
_LAYOUT = struct.Struct("<qqqqdq400s")  # n-th, after?, of the run?, count, time of death, fenced, stream
_COUNT_AT, _DEATH_AT, _FENCED_AT = 24, 32, 40
_BEGAN_AT, _BEGAN_MAX = _LAYOUT.size, 512
_CLAIMED_AT, _CLAIMED_MAX = _BEGAN_AT + _BEGAN_MAX, 32
_UUID_BYTES = 16
_BYTES = _CLAIMED_AT + _CLAIMED_MAX * _UUID_BYTES


class Target(msgspec.Struct, frozen=True):
    """Where the process has to die: at the `nth` append from now on, claims included; or, `of_run`, at the append with
    the conversation's `nth` event from its beginning, where of the claims of a task only the first counts. 0: never."""

    nth: int = 0
    moment: Moment = "before"
    of_run: bool = False

    def passed(self, count: int) -> bool:
        """Whether an append that ends with this event is behind it."""
        return self.nth <= count


class Start(msgspec.Struct, frozen=True):
    """Start a service. `settings` as in the environment; `effects`: folder of `Effects`; `trap`, `output`: files."""

    id: str
    settings: dict[str, Any]
    effects: str
    trap: str
    output: str


class Trap:
    """`arm` is for the harness, `spring` for the process. Not armed, it counts the conversation's events."""

    def __init__(self, file: Path) -> None:
        if not file.exists():
            file.write_bytes(bytes(_BYTES))
        with file.open("r+b") as opened:
            self._memory = mmap.mmap(opened.fileno(), _BYTES)

    def arm(self, target: Target | None = None, stream: str = "") -> None:
        """Anew: nothing is counted yet. Without `stream` all appends count."""
        self._memory[:] = bytes(_BYTES)
        self._set(target or Target(), stream)

    def arm_again(self, target: Target | None) -> None:
        """For the same conversation; what it has counted stays."""
        *_, count, _, _, padded = _LAYOUT.unpack_from(self._memory)
        self._set(target or Target(), padded.rstrip(b"\0").decode(), count)

    def _set(self, target: Target, stream: str, count: int = 0) -> None:
        after = target.moment == "after"
        for nth in (0, target.nth):  # the process may look at any time
            _LAYOUT.pack_into(self._memory, 0, nth, after, target.of_run, count, 0.0, 0, stream.encode())

    @property
    def count(self) -> int:
        """What is committed of what is counted."""
        return _LAYOUT.unpack_from(self._memory)[3]

    @property
    def began(self) -> list[int]:
        """The numbers of the events with which appends began, since it was armed."""
        return [number for number, began in enumerate(self._memory[_BEGAN_AT:_CLAIMED_AT], 1) if began]

    @property
    def died_at(self) -> float | None:
        """When the trap killed the process, in seconds of `time.time()`."""
        return _LAYOUT.unpack_from(self._memory)[4] or None

    @property
    def fenced(self) -> int:
        """The appends that were refused because the lease had gone to somebody else."""
        return _LAYOUT.unpack_from(self._memory)[5]

    def decided(self, results: Sequence[object]) -> None:
        fenced = self.fenced + sum(isinstance(result, LeaseLost) for result in results)
        struct.pack_into("<q", self._memory, _FENCED_AT, fenced)

    def before(self, appends: Collection[Waiting]) -> None:
        nth, after, _, count, *_ = _LAYOUT.unpack_from(self._memory)
        counted = sum(self._counted(appends))
        if not after and counted and 0 < nth <= count + counted:  # two batches may be on their way at once
            self._spring()

    def after(self, appends: Sequence[Waiting], found: Sequence[Appended]) -> None:
        nth, after, _, count, *_ = _LAYOUT.unpack_from(self._memory)
        new = [waiting for waiting, result in zip(appends, found, strict=True) if not result.duplicate]
        reached = count
        for waiting, counted in zip(new, self._counted(new), strict=True):
            if counted:
                self._memory[_BEGAN_AT + min(reached, _BEGAN_MAX - 1)] = 1
            reached += counted
            self._remember_claims(waiting)
        struct.pack_into("<q", self._memory, _COUNT_AT, reached)
        if after and count < nth <= reached:
            self._spring()

    def _counted(self, appends: Collection[Waiting]) -> list[int]:
        """What each of them counts."""
        _, _, of_run, *_, padded = _LAYOUT.unpack_from(self._memory)
        stream = padded.rstrip(b"\0").decode()
        return [
            0 if stream and waiting.stream != stream else self._own_events(waiting) if of_run else 1
            for waiting in appends
        ]

    def _own_events(self, waiting: Waiting) -> int:
        return sum(not _is_claim(one) or one.task_id not in self._claimed() for one in waiting.events)

    def _claimed(self) -> list[UUID]:
        kept = self._memory[_CLAIMED_AT:]
        ids = [kept[at : at + _UUID_BYTES] for at in range(0, len(kept), _UUID_BYTES)]
        return [UUID(bytes=id) for id in ids if any(id)]

    def _remember_claims(self, waiting: Waiting) -> None:
        for one in waiting.events:
            if _is_claim(one) and one.task_id is not None and one.task_id not in (claimed := self._claimed()):
                at = _CLAIMED_AT + len(claimed) % _CLAIMED_MAX * _UUID_BYTES
                self._memory[at : at + _UUID_BYTES] = one.task_id.bytes

    def _spring(self) -> None:
        struct.pack_into("<d", self._memory, _DEATH_AT, time.time())
        os.kill(os.getpid(), signal.SIGKILL)
        signal.pause()


def _is_claim(event: NewEvent) -> bool:
    return isinstance(event.payload, RunClaimed)


def lay(trap: Trap) -> None:
    """Put the trap into the appenders of this process."""
    write, acknowledge, settle = Appender._write, Appender._acknowledge, Appender._settle

    async def trapped_write(self: Appender, writer: Any, appends: list[Waiting], streams: list[str]) -> None:
        trap.before(appends)
        await write(self, writer, appends, streams)

    def trapped_acknowledge(self: Appender, appends: list[Waiting], found: list[Appended]) -> None:
        trap.after(appends, found)
        acknowledge(self, appends, found)

    def watched_settle(self: Appender, appends: list[Waiting], decided: Sequence[Any]) -> None:
        trap.decided(decided)
        settle(self, appends, decided)

    Appender._write, Appender._acknowledge, Appender._settle = (
        trapped_write,
        trapped_acknowledge,
        watched_settle,
    )
