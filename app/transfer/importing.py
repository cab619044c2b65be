"""Writes conversations into the log: bounded in memory, many appends in flight, the same result however often it runs.

Every append has an idempotency key made of the conversation's id and the number of its part. A run that was stopped
half-way and started again, or a second run, therefore writes what is missing and nothing twice.
"""

import asyncio
from collections.abc import Callable, Iterator
from typing import BinaryIO, Literal
from uuid import UUID

import msgspec

from app.core import streams
from app.core.envelope import NewEvent, user_actor
from app.core.events import ConversationImported, Event, MessageImported
from app.core.ids import derived_id, named_id
from app.log.errors import IdempotencyMismatch, LogError, LogUnavailable, OffsetConflict
from app.log.log import Appended, Log
from app.transfer.source import InvalidLine, SourceConversation, parse_line

LINE_BYTES_MAX = 64 * 1024 * 1024
PART_EVENTS_MAX = 200
PART_BYTES_MAX = 4 * 1024 * 1024
IN_FLIGHT_CONVERSATIONS = 32
IN_FLIGHT_BYTES = 64 * 1024 * 1024
DELETED = "conversation.deleted"
ANOTHER_ID = "import it under another id"


class LineResult(msgspec.Struct, frozen=True):
    """What became of a line (counted from 1). `present`: all of it was in the log before."""

    line: int
    size_bytes: int
    outcome: Literal["imported", "present", "failed", "blank"]
    messages: int = 0
    error: str = ""


class Summary(msgspec.Struct):
    """Sums of a run."""

    lines: int = 0
    imported: int = 0
    present: int = 0
    failed: int = 0
    messages: int = 0

    def add(self, result: LineResult) -> None:
        if result.outcome == "blank":
            return
        self.lines += 1
        self.messages += result.messages
        self.imported += result.outcome == "imported"
        self.present += result.outcome == "present"
        self.failed += result.outcome == "failed"


class _Line(msgspec.Struct, frozen=True):
    number: int
    text: bytes
    size_bytes: int


async def import_file(log: Log, file: BinaryIO, owner: str, report: Callable[[LineResult], None]) -> Summary:
    """Import every line that can be imported; `report` is called for each line as it is done.

    A line that cannot be imported is reported as failed and loses nothing else. Raises `LogUnavailable` when the
    database stays away: run again to go on.
    """
    summary = Summary()
    room = _Room(IN_FLIGHT_CONVERSATIONS, IN_FLIGHT_BYTES)

    async def one(line: _Line) -> None:
        try:
            result = await _import_line(log, line, owner)
        finally:
            room.leave(line.size_bytes)
        summary.add(result)
        report(result)

    try:
        async with asyncio.TaskGroup() as group:
            for line in read_lines(file):
                await room.enter(line.size_bytes)
                group.create_task(one(line))
    except* LogUnavailable as errors:
        raise _first(errors) from None
    return summary


async def _import_line(log: Log, line: _Line, owner: str) -> LineResult:
    if not line.text.strip():
        blank = line.size_bytes <= LINE_BYTES_MAX
        reason = "" if blank else f"has more than {LINE_BYTES_MAX} bytes; split the conversation"
        return LineResult(line.number, line.size_bytes, "blank" if blank else "failed", error=reason)
    try:
        conversation = parse_line(line.text)
        new = await _write(log, conversation, owner)
    except LogUnavailable:
        raise
    except (InvalidLine, LogError) as error:
        return LineResult(line.number, line.size_bytes, "failed", error=str(error))
    messages = len(conversation.messages)
    return LineResult(line.number, line.size_bytes, "imported" if new else "present", messages if new else 0)


async def _write(log: Log, conversation: SourceConversation, owner: str) -> bool:
    """Append the conversation; True if anything of it was new. Raises `InvalidLine`, `LogError`."""
    stream = streams.conversation(owner, conversation.id)
    before: Appended | None = None
    new = False
    for number, part in enumerate(parts(conversation, owner)):
        key = f"import/{conversation.id}/{number}"
        try:
            before = await _append(log, stream, part, before, key)
        except OffsetConflict as error:
            raise InvalidLine(
                "id", f"{owner} has a conversation {conversation.id!r} of another origin", ANOTHER_ID
            ) from error
        except IdempotencyMismatch as error:
            raise InvalidLine(
                "messages",
                f"conversation {conversation.id!r} was imported before, with other content",
                ANOTHER_ID,
            ) from error
        new |= not before.duplicate
    if not new and before is not None:
        await _demand_that_it_is_there(log, stream, before.last_offset)
    return new


async def _append(
    log: Log, stream: str, part: tuple[NewEvent, ...], before: Appended | None, key: str
) -> Appended:
    """Behind the part `before`, else at the beginning. Raises `InvalidLine`, `LogError`."""
    expected = 0 if before is None else before.last_offset
    try:
        return await log.append(stream, part, expected_offset=expected, idempotency_key=key)
    except OffsetConflict:
        if before is None:  # perhaps with the same line once more, which was on its way: now its key is known
            return await log.append(stream, part, expected_offset=expected, idempotency_key=key)
    # An import that was stopped is gone on with, and somebody has used the conversation meanwhile.
    await _demand_that_it_is_there(log, stream, before.last_offset)
    return await log.append(stream, part, idempotency_key=key)


async def _demand_that_it_is_there(log: Log, stream: str, after: int) -> None:
    """Raises `InvalidLine` if the conversation was deleted behind this offset. A key outlives what it has written."""
    async for recorded in log.reader.all_of(stream, after=after):
        if recorded.type == DELETED:
            raise InvalidLine(
                "id", "the conversation was imported before and has been deleted since", ANOTHER_ID
            )


def parts(conversation: SourceConversation, owner: str) -> Iterator[tuple[NewEvent, ...]]:
    """The conversation's events, in appends of bounded size. The same every time, so that their keys mean the same."""
    root = named_id("import", owner, conversation.id)
    part: list[NewEvent] = []
    part_bytes = 0
    for index, (event, size_bytes) in enumerate(_events(conversation)):
        if part and (len(part) >= PART_EVENTS_MAX or part_bytes + size_bytes > PART_BYTES_MAX):
            yield tuple(part)
            part, part_bytes = [], 0
        part.append(_new(root, index, event, owner))
        part_bytes += size_bytes
    yield tuple(part)


def _events(conversation: SourceConversation) -> Iterator[tuple[Event, int]]:
    yield ConversationImported(conversation.id, conversation.fields), len(bytes(conversation.fields))
    for index, message in enumerate(conversation.messages):
        yield MessageImported(index, message), len(bytes(message))


def _new(root: UUID, index: int, event: Event, owner: str) -> NewEvent:
    return NewEvent(derived_id(root, index), event, user_actor(owner))


def read_lines(file: BinaryIO) -> Iterator[_Line]:
    """The lines of a file. One over 64 MiB comes without its text, but with its size."""
    number = 0
    while text := file.readline(LINE_BYTES_MAX + 1):
        number += 1
        size_bytes = len(text)
        if size_bytes > LINE_BYTES_MAX and not text.endswith(b"\n"):
            while rest := file.readline(LINE_BYTES_MAX):
                size_bytes += len(rest)
                if rest.endswith(b"\n"):
                    break
            text = b""
        yield _Line(number, text, size_bytes)


class _Room:
    """Bounds what is in flight, by number and by bytes; one line may always go."""

    def __init__(self, lines: int, size_bytes: int) -> None:
        self._lines_max, self._bytes_max = lines, size_bytes
        self._lines = self._bytes = 0
        self._left = asyncio.Event()

    async def enter(self, size_bytes: int) -> None:
        while self._lines and (self._lines >= self._lines_max or self._bytes + size_bytes > self._bytes_max):
            self._left.clear()
            await self._left.wait()
        self._lines += 1
        self._bytes += size_bytes

    def leave(self, size_bytes: int) -> None:
        self._lines -= 1
        self._bytes -= size_bytes
        self._left.set()


def _first(errors: BaseExceptionGroup[LogUnavailable]) -> LogUnavailable:
    error = errors.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
