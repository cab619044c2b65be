"""The appends that wait for a lane: bounded, in order within a stream, and each with a deadline.

put() ──► lines, one a stream ──► take() ──► in a lane ──► release()
  │  full: at the door, first come first in        │
  └────────────────────────────────────────────────┘ a stream that a lane is writing waits: no overtaking
"""

from collections import deque
from collections.abc import Iterator

from app.log.batch import Batch, Waiting
from app.log.errors import LogOverloaded, LogUnavailable

BATCH_EVENTS_MAX = 256
BATCH_BYTES_MAX = 8 * 1024 * 1024
QUEUE_EVENTS_MAX = 10_000
QUEUE_BYTES_MAX = 64 * 1024 * 1024


class _Room:
    """What is left of a batch while it is being filled."""

    __slots__ = ("bytes_gone", "bytes_taken", "events_gone", "events_taken")

    def __init__(self) -> None:
        self.events_taken = self.bytes_taken = self.events_gone = self.bytes_gone = 0

    def fill(self, taken: list[Waiting], line: list[Waiting]) -> list[Waiting]:
        """Take from a line what fits, but always something into an empty batch; returns what stays in line."""
        for index, waiting in enumerate(line):
            count = len(waiting.events)
            if not waiting.done.done():
                events, size_bytes = self.events_taken + count, self.bytes_taken + waiting.size_bytes
                if taken and (events > BATCH_EVENTS_MAX or size_bytes > BATCH_BYTES_MAX):
                    return line[index:]
                self.events_taken, self.bytes_taken = events, size_bytes
                taken.append(waiting)
            self.events_gone += count
            self.bytes_gone += waiting.size_bytes
        return []


class AppendQueue:
    """One a partition. Not full means: room for the append, or empty."""

    def __init__(self, *, events_max: int = QUEUE_EVENTS_MAX, bytes_max: int = QUEUE_BYTES_MAX) -> None:
        self._events_max = events_max
        self._bytes_max = bytes_max
        self._lines: dict[str, list[Waiting]] = {}
        self._ready: deque[str] = deque()
        self._busy: set[str] = set()
        self._in_lanes: dict[int, Batch] = {}
        self._door: deque[Waiting] = deque()
        self._events = 0
        self._bytes = 0

    @property
    def ready(self) -> bool:
        """Whether `take` has something to give."""
        return bool(self._ready)

    @property
    def events_waiting(self) -> int:
        """Those at the door are not counted: there is no room for them."""
        return self._events

    @property
    def bytes_waiting(self) -> int:
        return self._bytes

    @property
    def empty(self) -> bool:
        """Whether nothing waits; lanes may still be writing."""
        return not self._lines and not self._door

    @property
    def idle(self) -> bool:
        return self.empty and not self._in_lanes

    def put(self, waiting: Waiting) -> None:
        """Put an append in line, or at the door where there is no room."""
        if self._door or not self._has_room(waiting):
            self._door.append(waiting)
        else:
            self._admit(waiting)

    def take(self, lane: int) -> Batch | None:
        """The longest run of appends within the limits of a batch, stream by stream."""
        ready, lines = self._ready, self._lines
        taken: list[Waiting] = []
        streams: list[str] = []
        room = _Room()
        while ready:
            stream = ready.popleft()
            line = lines.pop(stream)
            before = len(taken)
            rest = room.fill(taken, line)
            if len(taken) > before:
                streams.append(stream)
            if rest:
                lines[stream] = rest
                if len(taken) == before:
                    ready.appendleft(stream)
                break
        self._events -= room.events_gone
        self._bytes -= room.bytes_gone
        self._busy.update(streams)  # before others are let in, who may be for the same streams
        if self._door:
            self._let_in()
        if not taken:
            return None
        batch = self._in_lanes[lane] = Batch(taken, streams)
        return batch

    def release(self, lane: int) -> None:
        """The lane's batch is settled: its streams may be taken again."""
        streams = self._in_lanes.pop(lane).streams
        self._busy.difference_update(streams)
        self._ready.extend(stream for stream in streams if stream in self._lines)

    def expire(self, now: float) -> None:
        """Give those whose deadline has passed their error, and drop those whose callers have gone."""
        for batch in self._in_lanes.values():
            for waiting in batch.appends:
                if waiting.deadline <= now:
                    waiting.settle(_unavailable(outcome_unknown=True))
        for waiting in self._waiting_in_lines():
            if waiting.deadline <= now:
                waiting.settle(_unavailable(outcome_unknown=False))
        for waiting in self._door:
            if waiting.deadline <= now:
                waiting.settle(
                    LogOverloaded(
                        f"{self._events} events ({self._bytes} bytes) wait to be written, "
                        f"the limit is {self._events_max} ({self._bytes_max} bytes); try again later"
                    )
                )
        self._drop_settled()

    def fail_all(self, reason: str) -> None:
        """Nobody will write any more."""
        for batch in self._in_lanes.values():
            for waiting in batch.appends:
                waiting.settle(LogUnavailable(reason, outcome_unknown=True))
        for waiting in (*self._waiting_in_lines(), *self._door):
            waiting.settle(LogUnavailable(reason))
        self._drop_settled()

    def _has_room(self, waiting: Waiting) -> bool:
        return not self._events or (
            self._events + len(waiting.events) <= self._events_max
            and self._bytes + waiting.size_bytes <= self._bytes_max
        )

    def _admit(self, waiting: Waiting) -> None:
        self._events += len(waiting.events)
        self._bytes += waiting.size_bytes
        stream = waiting.stream
        line = self._lines.get(stream)
        if line is not None:
            line.append(waiting)
            return
        self._lines[stream] = [waiting]
        if stream not in self._busy:
            self._ready.append(stream)

    def _let_in(self) -> None:
        while self._door and (self._door[0].done.done() or self._has_room(self._door[0])):
            waiting = self._door.popleft()
            if not waiting.done.done():
                self._admit(waiting)

    def _waiting_in_lines(self) -> Iterator[Waiting]:
        for line in self._lines.values():
            yield from line

    def _drop_settled(self) -> None:
        lines = self._lines
        self._lines = {}
        self._events = self._bytes = 0
        self._ready.clear()
        door, self._door = self._door, deque()
        for line in lines.values():
            for waiting in line:
                if not waiting.done.done():
                    self._admit(waiting)
        self._door.extend(waiting for waiting in door if not waiting.done.done())
        self._let_in()


def _unavailable(*, outcome_unknown: bool) -> LogUnavailable:
    return LogUnavailable(
        "the database did not take the append within the time limit; try again",
        outcome_unknown=outcome_unknown,
    )
