"""One stretch of folding, for as long as the connections hold: the next page is folded while the last one is written.

Two connections: one reads, in the folding thread; one writes, in a thread of its own. What a page is folded on is what
the page before made of it, whether that is committed yet or not. The writer moves the checkpoint from exactly where the
page starts, in the transaction that writes the rows. So if another node was faster, or the write failed, nothing that
was folded ahead is ever written: it is dropped, and folding goes on from where the checkpoint is.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeAlias

import msgspec
import psycopg
import structlog
from psycopg import errors

from projections.checkpoints import Checkpoints
from projections.ownership import Ownership, Place
from projections.pages import decode_page, read_page
from projections.projection import (
    AnyProjection,
    Fold,
    Key,
    Page,
    describe,
    fold,
    halve,
    poison_of,
    touched_by,
)
from projections.tables import Table

# What the database says of a row that it cannot store, as against a database that is away.
UNSTORABLE = (
    psycopg.DataError,
    psycopg.IntegrityError,
    errors.ProgramLimitExceeded,
    errors.StatementTooComplex,
    errors.UntranslatableCharacter,
)

logger = structlog.get_logger(__name__)
Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]


class _Folded(msgspec.Struct, frozen=True):
    """A page folded for one projection, ready to be written. `reached` is short of its end where an event is poison."""

    projection: AnyProjection
    partition: int
    page: Page
    fold: Fold
    reached: int

    @property
    def place(self) -> Place:
        return self.projection.name, self.partition


class _Ahead(msgspec.Struct, frozen=True):
    """Where a place will be once what is being written is committed, with the rows of the page that leads there."""

    position: int
    rows: dict[Key, Any]
    forgot: bool


class _Unwritten(msgspec.Struct, frozen=True):
    """What has to be folded anew: the checkpoint was elsewhere, or (`error`) the database refused a row."""

    folded: _Folded
    error: Exception | None = None


class Session:
    """Not for use by several threads. `moved` is called, from either thread, when a checkpoint moved or stopped.

    With `ownership` only what is this worker's is folded, else everything, whoever else may be at it; with `until` only
    up to these positions of the partitions.
    """

    def __init__(
        self,
        reading: Connection,
        writing: Connection,
        projections: Sequence[AnyProjection],
        checkpoints: Checkpoints,
        *,
        page_events: int,
        moved: Callable[[], None],
        ownership: Ownership | None = None,
        until: Mapping[int, int] | None = None,
    ) -> None:
        self._until = until
        self._ownership = ownership
        self._reading = reading
        self._writing = writing
        self._projections = {projection.name: projection for projection in projections}
        self._tables = {projection.name: Table(projection) for projection in projections}
        self._checkpoints = checkpoints
        self._page_events = page_events
        self._moved = moved
        self._ahead: dict[Place, _Ahead] = {}
        self._written: Future[list[_Unwritten]] | None = None
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="projections-writer")

    def close(self) -> None:
        """Waits for the write at hand."""
        self._writer.shutdown(cancel_futures=True)

    def advance(self) -> bool:
        """One page for every group of projections that stand at the same position. False: all of them that are ours
        have reached the end.

        Raises `psycopg.Error`; do not use the session any more then.
        """
        found = False
        owned = self._owned()
        for partition in self._checkpoints.partitions:
            groups: dict[int, list[AnyProjection]] = defaultdict(list)
            for name in self._checkpoints.running():
                if owned is not None and (name, partition) not in owned:
                    continue
                groups[self._position(name, partition)].append(self._projections[name])
            for position, group in groups.items():
                found |= self._advance_group(partition, position, group)
        return found or bool(self._settle())

    @property
    def trailing(self) -> bool:
        """Whether other workers have something to fold, or may have: advance again after `TRAILING_SECONDS`."""
        return self._ownership is not None and self._ownership.trailing

    def _owned(self) -> frozenset[Place] | None:
        if self._ownership is None:
            return None
        owned = self._ownership.owned()
        self._moved()  # others may have moved theirs
        return owned

    def _position(self, name: str, partition: int) -> int:
        ahead = self._ahead.get((name, partition))
        return self._checkpoints.position(name, partition) if ahead is None else ahead.position

    def _advance_group(self, partition: int, position: int, group: list[AnyProjection]) -> bool:
        limit = self._page_events
        if self._until is not None:
            limit = min(limit, self._until.get(partition, 0) - position)
        recorded = read_page(self._reading, partition, position, limit) if limit > 0 else []
        if not recorded:
            return False
        self._checkpoints.saw(partition, recorded[-1].position)
        page = decode_page(recorded, frozenset[str]().union(*(projection.handles for projection in group)))
        ahead = [self._ahead.get((projection.name, partition)) for projection in group]
        if any(one is not None and one.forgot for one in ahead) and self._settle():
            return True  # rows that are being deleted must not be loaded, and where they are is not known now
        batch = [
            folded for projection in group if (folded := self._fold(projection, partition, page)) is not None
        ]
        stale = {unwritten.folded.place for unwritten in self._settle()}
        self._submit([folded for folded in batch if folded.place not in stale])
        return True

    def _fold(self, projection: AnyProjection, partition: int, page: Page) -> _Folded | None:
        """None where the stored rows are not those of the page's start: fold anew from where they are."""
        place = projection.name, partition
        concerned = not projection.handles.isdisjoint(page.types)
        touched = touched_by(projection, page.entries if concerned else ())
        ahead = self._ahead.get(place)
        stored = ahead.rows if ahead is not None and ahead.position == page.start else {}
        unknown = [key for key in touched.needed if key not in stored]
        if unknown:
            # The page that is being written has not touched them, so it does not matter whether it is committed.
            before = self._checkpoints.position(*place)
            loaded, position = self._tables[projection.name].load(self._reading, partition, unknown)
            if position not in (page.start, before):
                self._ahead.pop(place, None)
                self._checkpoints.reached(*place, position)
                self._moved()  # another node has folded it: whoever waits for that has to be told
                return None
            stored = stored | loaded
        folded = fold(projection, stored, page.entries, touched)
        reached = page.end if folded.poison is None else folded.poison.position - 1
        return _Folded(projection, partition, page, folded, reached)

    def _submit(self, batch: list[_Folded]) -> None:
        for folded in batch:
            rows, forgot = folded.fold.rows, bool(folded.fold.forgotten)
            self._ahead[folded.place] = _Ahead(folded.reached, rows, forgot)
        self._written = self._writer.submit(self._write_all, batch)
        if any(folded.fold.poison is not None for folded in batch):
            self._settle()

    def _settle(self) -> list[_Unwritten]:
        """Wait for what is being written. What of it was not written has been dropped when this returns."""
        written, self._written = self._written, None
        unwritten = written.result() if written is not None else []
        for one in unwritten:
            self._ahead.pop(one.folded.place, None)
            if one.error is not None:
                self._search(one.folded, one.error)
        return unwritten

    def _search(self, folded: _Folded, error: Exception) -> None:
        """Find the event behind a row that the database refuses, by halves, and stop in front of it."""
        halves = halve(folded.page)
        if halves is None:
            poison = poison_of(folded.page.entries[0][0], describe(error))
            self._stop(_Folded(folded.projection, folded.partition, folded.page, Fold({}, {}, poison), 0))
            return
        for half in halves:
            again = self._fold(folded.projection, folded.partition, half)
            self._submit([] if again is None else [again])
            if again is None or self._settle() or again.fold.poison is not None:
                return

    def _write_all(self, batch: list[_Folded]) -> list[_Unwritten]:
        """In the writer's thread: all of a page in one transaction, or one by one what has a poison event and what the
        database refuses."""
        unwritten: list[_Unwritten] = []
        written = self._write_together([folded for folded in batch if folded.fold.poison is None])
        for folded in batch:
            if folded.projection.name in written:
                continue
            try:
                if not self._write(folded):
                    unwritten.append(_Unwritten(folded))
            except UNSTORABLE as error:
                unwritten.append(_Unwritten(folded, error))
            self._moved()
        return unwritten

    def _write_together(self, batch: list[_Folded]) -> frozenset[str]:
        """Names of those that were written: none where a row was refused, whosever it is; else those whose checkpoint
        was at the page's start. The statements go out without waiting for one another."""
        if not batch:
            return frozenset()
        partition, page = batch[0].partition, batch[0].page
        names = [folded.projection.name for folded in batch]
        try:
            with self._writing.pipeline(), self._writing.transaction():
                moved = self._checkpoints.move_together(self._writing, names, partition, page.start, page.end)
                for folded in batch:
                    if folded.projection.name in moved:
                        self._tables[folded.projection.name].write(self._writing, folded.fold)
        except UNSTORABLE:
            return frozenset()
        for name in moved:
            self._checkpoints.reached(name, partition, page.end)
        self._moved()
        return moved

    def _write(self, folded: _Folded) -> bool:
        """Rows and checkpoint in one transaction. False if the checkpoint was not at the page's start."""
        name, partition = folded.place
        with self._writing.transaction():
            if not self._checkpoints.move(self._writing, name, partition, folded.page.start, folded.reached):
                return False
            self._tables[name].write(self._writing, folded.fold)
        self._checkpoints.reached(name, partition, folded.reached)
        if folded.fold.poison is not None:
            self._stop(folded)
        return True

    def _stop(self, folded: _Folded) -> None:
        poison = folded.fold.poison
        if poison is None:
            return
        self._checkpoints.note_stop(self._writing, folded.projection.name, poison, folded.partition)
        logger.error(
            "projection_stopped",
            projection=folded.projection.name,
            position=poison.position,
            type=poison.type,
            reason=poison.reason,
        )
        self._moved()
