"""The careful ways of the appender: a refused batch, and a batch whose connection broke.

Both lock the partition's counter first. What is then read cannot change before the transaction ends.
"""

from collections import defaultdict
from datetime import datetime
from uuid import UUID

from app.log import batch as batches
from app.log.batch import Appended, Lease, Waiting
from app.log.connections import Connection, Record, is_refusal
from app.log.errors import IdempotencyMismatch, InvalidAppend, LeaseLost, OffsetConflict
from app.log.heads import Heads
from app.log.sql import statement
from app.log.writer import Writer

TERMINATE_TIMEOUT_MS = 5_000

Result = Appended | BaseException


async def sort_out(writer: Writer, batch: list[Waiting], heads: Heads) -> tuple[int, list[Result]]:
    """Decide for each append of a refused batch whether it holds, and write those that do.

    Returns the position before and one result an append. Where a key stands twice among them, or the database refuses
    what is left (text that it cannot store), the appends are written one by one, so that each gets its own result.
    """
    if not _has_twins(batch):
        try:
            return await _sort_out_together(writer, batch, heads)
        except Exception as error:
            if not is_refusal(error):
                raise
            heads.forget([waiting.stream for waiting in batch])
            if len(batch) == 1:
                return _NO_POSITION, [InvalidAppend(f"the database refuses to store this append: {error}")]
    found: list[Result] = []
    position = _NO_POSITION
    for waiting in batch:
        before, one = await sort_out(writer, [waiting], heads)
        position = min(position, before)
        found += one
    return position, found


_NO_POSITION = 2**63


def _has_twins(batch: list[Waiting]) -> bool:
    """Two appends with one key: what the second gets depends on the first, so it must be in the log by then."""
    keys = [
        (waiting.stream, waiting.idempotency_key) for waiting in batch if waiting.idempotency_key is not None
    ]
    return len(set(keys)) < len(keys)


async def _sort_out_together(writer: Writer, batch: list[Waiting], heads: Heads) -> tuple[int, list[Result]]:
    connection = writer.connection
    streams = {waiting.stream for waiting in batch}
    await heads.look_up(connection, streams)  # makes those that are new
    decided: dict[int, Result] = {}
    writing: list[Waiting] = []
    async with connection.transaction():
        position = int(await connection.fetchval(statement("lock_partition"), writer.partition))
        known = await heads.look_again(connection, streams)
        held = await _leases_held(connection, batch)
        earlier = await _appended_before(connection, batch)
        ends = {stream: head.offset for stream, head in known.items()}
        for waiting in batch:
            result = earlier.get(waiting) or _refuse(waiting, ends[waiting.stream], held)
            if result is not None:
                decided[id(waiting)] = result
                continue
            ends[waiting.stream] += len(waiting.events)
            writing.append(waiting)
        placement = batches.place(writing, known)
        assert placement is not None  # noqa: S101 (every expectation was checked above)
        if writing:
            found = await writer.write(0, writing, placement)
            decided |= {id(waiting): result for waiting, result in zip(writing, found, strict=True)}
    placement.remember(writing)
    return position, [decided[id(waiting)] for waiting in batch]


async def _leases_held(connection: Connection, batch: list[Waiting]) -> set[Lease]:
    tasks = [waiting.lease.task_id for waiting in batch if waiting.lease is not None]
    if not tasks:
        return set()
    rows = await connection.fetch(statement("leases_held"), batches.array_literal(tasks))
    return {Lease(row["task_id"], row["epoch"]) for row in rows}


def _refuse(waiting: Waiting, head: int, held: set[Lease]) -> BaseException | None:
    """Why an append must not be written; None: write it."""
    if waiting.lease is not None and waiting.lease not in held:
        return LeaseLost(waiting.lease.task_id, waiting.lease.epoch)
    if waiting.expected_offset is not None and waiting.expected_offset != head:
        return OffsetConflict(waiting.stream, waiting.expected_offset, head)
    return None


async def _appended_before(
    connection: Connection, batch: list[Waiting]
) -> dict[Waiting, Appended | IdempotencyMismatch]:
    """The results of those whose key was used before. Compared are the types and payloads of all events."""
    keyed = [(waiting, waiting.idempotency_key) for waiting in batch if waiting.idempotency_key is not None]
    if not keyed:
        return {}
    rows = await connection.fetch(
        statement("appended_with_key"),
        [waiting.stream for waiting, _ in keyed],
        [key for _, key in keyed],
        batches.array_literal([len(waiting.events) for waiting, _ in keyed]),
    )
    earlier: dict[int, list[Record]] = defaultdict(list)
    for row in rows:
        earlier[row["number"] - 1].append(row)
    return {keyed[number][0]: _compare(*keyed[number], rows) for number, rows in earlier.items()}


def _compare(waiting: Waiting, key: str, rows: list[Record]) -> Appended | IdempotencyMismatch:
    written = [(row["type"], row["payload"]) for row in rows]
    if written != list(zip(waiting.kinds, waiting.payloads, strict=True)):
        return IdempotencyMismatch(waiting.stream, key)
    first, last = rows[0], rows[-1]
    return Appended(
        first["stream_offset"], last["stream_offset"], last["position"], last["recorded_at"], True
    )


async def find_written(
    connection: Connection,
    partition: int,
    batch: list[Waiting],
    *,
    broken_pid: int,
    broken_name: str,
    known_position: int,
) -> dict[Waiting, Appended]:
    """Which appends of a batch were committed although its connection broke before the answer came.

    The server may still be working on the statement without knowing that nobody listens, or not have read it yet. So
    its backend is ended first; then, under the counter's lock, the log is searched behind the newest position known
    before the batch was sent. Raises `TimeoutError` where the backend does not end within 5 s.
    """
    rows = await connection.fetch(statement("end_backend"), broken_pid, broken_name, TERMINATE_TIMEOUT_MS)
    if not all(row["gone"] for row in rows):
        raise TimeoutError(f"server process {broken_pid} with a broken connection does not end")
    ids = [waiting.events[number].id for waiting in batch for number in (0, -1)]
    async with connection.transaction():
        await connection.fetchval(statement("lock_partition"), partition)
        rows = await connection.fetch(
            statement("find_written"), partition, known_position, batches.array_literal(ids)
        )
    at: dict[tuple[str, UUID], tuple[int, int, datetime]] = {
        (row["stream"], row["id"]): (row["stream_offset"], row["position"], row["recorded_at"])
        for row in rows
    }
    found: dict[Waiting, Appended] = {}
    for waiting in batch:
        first = at.get((waiting.stream, waiting.events[0].id))
        last = at.get((waiting.stream, waiting.events[-1].id))
        if first is not None and last is not None:
            found[waiting] = Appended(first[0], last[0], last[1], last[2])
    return found
