"""What the sockets that people talk over have in common: frames in, one at a time, and an answer to every bad one."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, TypeVar

import msgspec

from app.api import errors
from app.api.portal_wire import cut
from app.api.security import cannot_write
from app.api.services import Services
from app.api.sockets import CLOSE_INTERNAL, CLOSE_TRY_AGAIN, FrameError, Line
from app.api.wrong_input import told, unreadable
from app.core.texts import Locale, text

Frame = TypeVar("Frame")
KIND_SHOWN_CHARS = 40


async def attend(
    services: Services,
    line: Line,
    handle: Callable[[str], Awaitable[None]],
    *,
    where: str,
    beside: Coroutine[Any, Any, None] | None = None,
    heartbeat_seconds: float | None = None,
) -> None:
    """Hand on what the client sends until it has gone, the server stops, or the work `beside` ends. Closes the line.

    What `handle` raises is answered with one sentence; unexpected errors are logged with `where`. A client that is
    silent for `heartbeat_seconds` (by default those of the settings; 0: for ever) is closed.

    While the server stops, nothing more is taken from the client, and it is told what there is to tell until its turn
    to be closed comes (`SocketRegistry.drain`).
    """
    heartbeat = services.options.heartbeat_seconds if heartbeat_seconds is None else heartbeat_seconds
    listening: asyncio.Task[Any] = asyncio.create_task(_listen(line, handle, where, heartbeat))
    working: list[asyncio.Task[Any]] = [listening]
    if beside is not None:
        working.append(asyncio.create_task(beside))
    stopping: asyncio.Task[Any] = asyncio.create_task(services.stopping.wait())
    closed: asyncio.Task[Any] = asyncio.create_task(line.gone.wait())
    leave_inbox = services.inboxes.join(line)
    try:
        await asyncio.wait((*working, stopping, closed), return_when=asyncio.FIRST_COMPLETED)
        if stopping.done() and not closed.done():
            working.remove(listening)
            listening.cancel()
            await asyncio.wait((*working, closed), return_when=asyncio.FIRST_COMPLETED)
        for task in working:
            if task.done() and (error := task.exception()) is not None:
                await line.error(sentence_of(error, line.locale, where))
                await line.close(CLOSE_INTERNAL)
    finally:
        leave_inbox()
        for task in (others := (listening, *working, stopping, closed)):
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await line.close(CLOSE_TRY_AGAIN, text("restart", line.locale) if services.stopping.is_set() else "")


async def _listen(
    line: Line, handle: Callable[[str], Awaitable[None]], where: str, heartbeat_seconds: float
) -> None:
    while True:
        try:
            received = await line.receive(heartbeat_seconds)
            if received is None:
                return
            await handle(received)
        except Exception as error:
            await line.error(sentence_of(error, line.locale, where), **errors.more_of(error))


def sentence_of(error: BaseException, locale: Locale, where: str) -> str:
    """At most 200 characters for people, without internals."""
    if not isinstance(error, Exception):
        raise error
    if isinstance(error, FrameError):
        return cut(str(error))
    return cut(errors.sentence(error, locale) or errors.internal(error, locale, where))


def decoded(received: str, kinds: Mapping[str, type[Frame]], locale: Locale) -> Frame:
    """The frame by its `type`. Raises `FrameError` with one sentence that says what is wrong."""
    if not received:  # so comes what was sent in a binary frame
        raise FrameError(text("frame_empty", locale))
    try:
        values: Any = msgspec.json.decode(received)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise FrameError(unreadable(error, received, "frame", locale)) from None
    known = ", ".join(kinds)
    kind = values.get("type") if isinstance(values, dict) else None  # pyright: ignore[reportUnknownMemberType,reportUnknownVariableType]
    if not isinstance(kind, str):
        raise FrameError(text("frame_no_type", locale, known=known))
    if kind not in kinds:
        raise FrameError(text("unknown_frame", locale, type=kind[:KIND_SHOWN_CHARS], known=known))
    try:
        return msgspec.convert(values, kinds[kind])
    except msgspec.ValidationError as error:
        reason = told(str(error), locale, kinds[kind])
        raise FrameError(text("invalid_frame", locale, type=kind, reason=reason)) from None


def demand_writer(line: Line) -> None:
    """Raises `FrameError` for who may only read."""
    if not line.principal.may_write:
        raise FrameError(cannot_write(line.principal, line.locale))
