"""One at a time on all nodes: what `Log.exclusively` promises."""

import asyncio

import pytest

from app.log.errors import LogOverloaded
from app.log.exclusive import HELD_AT_ONCE_MAX, Exclusive
from app.log.log import Log
from tests.support.logs import lock_waits, open_logs, session, within


async def hold(log: Log, *names: str, entered: asyncio.Event, leave: asyncio.Event) -> None:
    async with log.exclusively(*names):
        entered.set()
        await leave.wait()


async def test_no_two_are_in_at_once_on_whatever_node(dsn: str) -> None:
    inside = most = 0

    async def enter(log: Log) -> None:
        nonlocal inside, most
        async with log.exclusively("a"):
            inside += 1
            most = max(most, inside)
            await log.reader.position()
            inside -= 1

    async with open_logs(dsn, 2) as logs:
        await within(asyncio.gather(*(enter(logs[n % 2]) for n in range(40))))
    assert most == 1


async def test_several_names_are_taken_together_and_never_cross(dsn: str) -> None:
    async def enter(log: Log, *names: str) -> None:
        async with log.exclusively(*names):
            await log.reader.position()

    async with open_logs(dsn, 2) as logs:
        both = [enter(logs[n % 2], *(("a", "b") if n % 3 else ("b", "a"))) for n in range(30)]
        await within(asyncio.gather(*both))


async def test_other_names_do_not_wait(log: Log) -> None:
    entered, leave = asyncio.Event(), asyncio.Event()
    holding = asyncio.create_task(hold(log, "a", entered=entered, leave=leave))
    await entered.wait()
    async with log.exclusively("b"):
        leave.set()
    await holding


async def test_readers_have_connections_left(log: Log) -> None:
    """Guard: the number of connections that hold locks is limited."""
    leave, entered = asyncio.Event(), [asyncio.Event() for _ in range(HELD_AT_ONCE_MAX)]
    holding = [
        asyncio.create_task(hold(log, f"n{n}", entered=one, leave=leave)) for n, one in enumerate(entered)
    ]
    more = [asyncio.create_task(hold(log, f"m{n}", entered=asyncio.Event(), leave=leave)) for n in range(20)]
    await asyncio.gather(*(one.wait() for one in entered))
    assert await within(log.reader.position()) == 0
    leave.set()
    await asyncio.gather(*holding, *more)


async def test_who_waits_too_long_is_told_to_try_again(dsn: str) -> None:
    entered, leave = asyncio.Event(), asyncio.Event()
    async with open_logs(dsn, 2) as (one, other):
        holding = asyncio.create_task(hold(one, "a", entered=entered, leave=leave))
        await entered.wait()
        for impatient in (Exclusive(one._pool, wait_seconds=0.05), Exclusive(other._pool, wait_seconds=0.05)):
            with pytest.raises(LogOverloaded, match="try again"):
                async with impatient.hold(["a"]):
                    raise AssertionError("two at once")
        leave.set()
        await holding
        async with other.exclusively("a"):  # nothing is left of the attempts
            pass


async def test_whoever_dies_holds_nobody_up(dsn: str) -> None:
    entered, leave, second = asyncio.Event(), asyncio.Event(), asyncio.Event()
    async with open_logs(dsn, 2) as (one, other), session(dsn) as beside:
        holding = asyncio.create_task(hold(one, "a", entered=entered, leave=leave))
        await entered.wait()
        waiting = asyncio.create_task(hold(other, "a", entered=second, leave=leave))
        await lock_waits(beside)
        await beside.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        await within(second.wait())
        leave.set()
        await asyncio.gather(holding, waiting)
