"""What the sockets that people talk over have in common: frames in, one at a time, and an answer to every bad one."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, TypeVar

import msgspec

from app.api import errors
from app.api.portal_wire import cut
from app.api.services import Services
from app.api.sockets import CLOSE_INTERNAL, CLOSE_TRY_AGAIN, FrameError, Line
from app.core.texts import Locale, text
from app.log.errors import LogError

Frame = TypeVar("Frame")
KIND_SHOWN_CHARS = 40


async def attend(
    services: Services,
    line: Line,
    handle: Callable[[str], Awaitable[None]],
    *,
    where: str,
    beside: Coroutine[Any, Any, None] | None = None,
) -> None:
    """Hand on what the client sends until it has gone, the server stops, or the work `beside` ends. Closes the line.

    What `handle` raises is answered with one sentence; unexpected errors are logged with `where`.
    """
    working: list[asyncio.Task[Any]] = [asyncio.create_task(_listen(services, line, handle, where))]
    if beside is not None:
        working.append(asyncio.create_task(beside))
    stopping: asyncio.Task[Any] = asyncio.create_task(services.stopping.wait())
    try:
        await asyncio.wait((*working, stopping), return_when=asyncio.FIRST_COMPLETED)
        for task in working:
            if task.done() and (error := task.exception()) is not None:
                await line.error(sentence_of(error, line.locale, where))
                await line.close(CLOSE_INTERNAL)
    finally:
        for task in (*working, stopping):
            task.cancel()
        await asyncio.gather(*working, stopping, return_exceptions=True)
        await line.close(CLOSE_TRY_AGAIN)


async def _listen(
    services: Services, line: Line, handle: Callable[[str], Awaitable[None]], where: str
) -> None:
    while True:
        try:
            received = await line.receive(services.options.heartbeat_seconds)
            if received is None:
                return
            await handle(received)
        except Exception as error:
            await line.error(sentence_of(error, line.locale, where))


def sentence_of(error: BaseException, locale: Locale, where: str) -> str:
    """At most 200 characters for people, without internals."""
    if not isinstance(error, Exception):
        raise error
    if isinstance(error, FrameError):
        return cut(str(error))
    message = errors.sentence(error, locale)
    if message is None and isinstance(error, LogError):
        message = str(error)
    return cut(message or errors.internal(error, locale, where))


def decoded(received: str, kinds: Mapping[str, type[Frame]], locale: Locale) -> Frame:
    """The frame by its `type`. Raises `FrameError` with one sentence that says what is wrong."""
    try:
        values: Any = msgspec.json.decode(received)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        raise FrameError(text("not_json", locale)) from None
    kind = values.get("type") if isinstance(values, dict) else None  # pyright: ignore[reportUnknownMemberType,reportUnknownVariableType]
    if not isinstance(kind, str) or kind not in kinds:
        shown = str(kind)[:KIND_SHOWN_CHARS]  # pyright: ignore[reportUnknownArgumentType]
        raise FrameError(text("unknown_frame", locale, type=shown, known=", ".join(kinds)))
    try:
        return msgspec.convert(values, kinds[kind])
    except msgspec.ValidationError as error:
        raise FrameError(text("invalid_frame", locale, type=kind, reason=str(error))) from None


def demand_writer(line: Line) -> None:
    """Raises `FrameError` for who may only read."""
    if not line.principal.may_write:
        raise FrameError(text("forbidden", line.locale, role=line.principal.role))
