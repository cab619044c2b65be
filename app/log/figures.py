"""What a process counts of its own appends. Plain numbers: the append path is hot, and they are read when asked for."""

from bisect import bisect_left

import msgspec

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper ends of the buckets; one more is behind the last."""


class AppendFigures:
    """Since the process began. `buckets` counts batches by the time that their first append took from its call to its
    commit; it has waited longest."""

    def __init__(self) -> None:
        self.events = 0
        self.appends = 0
        self.batches = 0
        self.seconds = 0.0
        self.buckets = [0] * (len(SECONDS) + 1)

    def note(self, *, events: int, appends: int, seconds: float) -> None:
        """One batch is committed."""
        self.events += events
        self.appends += appends
        self.batches += 1
        self.seconds += seconds
        self.buckets[bisect_left(SECONDS, seconds)] += 1


class PartitionFigures(msgspec.Struct, frozen=True):
    """A partition as this process sees it: the newest position that it knows, what waits to be written, and what it
    has written."""

    position: int
    waiting_events: int
    waiting_bytes: int
    appended: AppendFigures


class LogFigures(msgspec.Struct, frozen=True):
    """The log as this process sees it. `streams` are those that somebody reads here."""

    partitions: tuple[PartitionFigures, ...]
    streams: int
    pool_connections: int
    pool_idle: int
