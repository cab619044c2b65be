"""Keeping what was read of a stream as new as the stream, until cancelled."""

from collections.abc import Awaitable, Callable
from contextlib import suppress

from app.log.errors import LogError
from app.log.wake import Wakeups

HEARTBEAT_SECONDS = 15.0
RETRY_SECONDS = 1.0


async def keep_up(
    wakeups: Wakeups,
    stream: str,
    catch_up: Callable[[], Awaitable[object]],
    failed: Callable[[LogError], None],
) -> None:
    """Call `catch_up` now, at every wake-up of the stream, and every 15 s; 1 s after a `LogError`, which `failed` is
    told."""
    with wakeups.signal(stream) as signal:
        while True:
            signal.clear()  # before reading: a wake-up during it must not be forgotten
            wait_seconds = HEARTBEAT_SECONDS
            try:
                await catch_up()
            except LogError as error:
                failed(error)
                wait_seconds = RETRY_SECONDS
            with suppress(TimeoutError):
                await signal.wait(wait_seconds)
