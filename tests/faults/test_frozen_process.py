"""Two real service processes on one database; one is frozen (SIGSTOP) beyond its lease with work under way.

The other one takes its runs over and ends them. The frozen one is woken, finds its tools and its model done, and writes
nothing more of these runs. Guard: the lease's epoch in every append of a run (`app/log/sql/append_guarded.sql`).
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Literal, NamedTuple

import pytest

from app.core.envelope import Recorded
from app.log.ids import new_id
from app.log.log import open_log
from tests.kills.checks import check_conversation
from tests.kills.client import Client
from tests.kills.harness import recorded
from tests.kills.lane import Lane, running_pair
from tests.kills.minutes import Row, difference, minutes
from tests.support import proxy
from tests.support.databases import TestServer
from tests.support.events import STREAM, make_event
from tests.support.logs import open_logs, until, within
from tests.support.proxy import Link, proxy_to

HELD_UP_SECONDS_MAX = 3.0


class Kind(NamedTuple):
    """`until`: the event with which the work is under way. `last`: the event with which all has ended."""

    name: str
    message: str
    until: str
    last: str = "run.completed"
    keys: bool = True


KINDS = (
    Kind("tool", "please wait for me", "tool.called"),
    Kind("model", "please think", "model.called"),
    Kind("once", "please deliver it", "tool.called"),
    Kind("question", "please ask me", "human.asked"),
    Kind("consent", "please send it", "confirmation.requested"),
    Kind("operation", "please grow it", "operation.started", "operation.finished", keys=False),
)


@pytest.fixture
async def lanes(server: TestServer, dsn: str, tmp_path: Path) -> AsyncIterator[tuple[Lane, Lane]]:
    async with running_pair(tmp_path, dsn, ("frozen", "heir")) as lanes:
        yield lanes


async def begin(lane: Lane, kind: Kind, name: str) -> Client:
    """The conversation, with its work under way in the lane's process."""
    client = Client(lane, name)
    client.begin(kind.message)
    await client.sees(kind.until)
    if kind.name == "once":

        async def begun() -> bool:
            return bool(lane.effects.happened(name))

        await until(begun)
    return client


async def finish(lane: Lane, kind: Kind, client: Client) -> None:
    """Does for the conversation what it waits for, and sees its end, all in the lane's process."""
    client.open_gate()
    if kind.name == "question":
        await client.reply(await client.sees("human.asked"), "blue")
    if kind.name == "consent":
        await client.confirm(await client.sees("confirmation.requested"), approved=True)
    await client.sees(kind.last)
    await client.turns()


async def undisturbed(lane: Lane, kind: Kind) -> list[list[Row]]:
    client = Client(lane, f"undisturbed-{kind.name}")
    if kind.name == "once":
        lane.effects.forget_outcomes(client.conversation_id)
    client.begin(kind.message)
    await finish(lane, kind, client)
    return minutes(await recorded(lane, client), keys=kind.keys)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("woken", ["when all has ended", "in the middle"])
async def test_a_process_that_was_frozen_past_its_lease_writes_nothing_more_of_its_runs(
    lanes: tuple[Lane, Lane], woken: Literal["when all has ended", "in the middle"]
) -> None:
    frozen, heir = lanes
    (frozen.forks_folder / "model-gate").touch()
    expected = {kind.name: await undisturbed(heir, kind) for kind in KINDS}
    (frozen.forks_folder / "model-gate").unlink()

    begun = [await begin(frozen, kind, f"frozen-{kind.name}") for kind in KINDS]
    before = [await recorded(heir, client) for client in begun]
    await frozen.freeze()
    for client in begun:
        await client.close()

    clients = [Client(heir, client.conversation_id) for client in begun]
    for kind, client, events in zip(KINDS, clients, before, strict=True):
        client.begin(kind.message)
        claims = sum(one.type == "run.claimed" for one in events)
        await client.sees("run.claimed", number=claims + 1)
    if woken == "in the middle":
        await frozen.wake()
    (frozen.forks_folder / "model-gate").touch()
    for kind, client in zip(KINDS, clients, strict=True):
        await finish(heir, kind, client)
    ended = [await recorded(heir, client) for client in clients]
    if woken == "when all has ended":
        await frozen.wake()

    awake = Client(frozen, "awake")
    await awake.say("hello")  # it works again, on what is its own
    await frozen.terminate()
    for kind, client, was in zip(KINDS, clients, ended, strict=True):
        events = await recorded(heir, client)
        assert events == was, "the frozen process has written"
        check_conversation(events, client, heir.effects, tasks=len(expected[kind.name]))
        found = minutes(events, keys=kind.keys)
        assert found == expected[kind.name], difference(expected[kind.name], found)
        assert_taken_over_once(events)
    if woken == "when all has ended":
        assert frozen.trap.fenced > 0, "it tried, and was refused"


def assert_taken_over_once(events: list[Recorded]) -> None:
    """Nobody but the heir has claimed a task since it first did. (What it had not claimed yet, anybody may.)"""
    claims = [one for one in events if one.type == "run.claimed"]
    everybody: set[str] = set()
    for task_id in {one.task_id for one in claims}:
        workers = [one.event().worker for one in claims if one.task_id == task_id]  # type: ignore[union-attr]
        assert workers == sorted(workers, key=workers.index)
        everybody.update(workers)
    assert len(everybody) == 2


@pytest.mark.parametrize("change", ["claim", "renew"])
async def test_a_process_that_is_frozen_while_it_changes_leases_holds_nobody_up(
    dsn: str, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """Frozen before each message that it sends to Postgres. Guard: lease changes are one statement; in a transaction of
    several, the one who was frozen kept the counter locked, and nobody could append or claim."""
    monkeypatch.setattr(proxy, "APPEND_MARK", b"")  # every message
    task_id, ttl, stops = new_id(), timedelta(seconds=30), 0
    with tempfile.TemporaryDirectory(prefix="mb", dir="/tmp") as folder:
        async with proxy_to(dsn, Path(folder)) as line, open_logs(dsn, 1) as (other,):
            await other.claim(task_id, "frozen", ttl)
            for sent in count(1):
                log = await open_log(line.dsn, node_id=f"frozen-{sent}")
                line.on_append = freezing = Freezing(sent)
                changing = asyncio.ensure_future(
                    log.claim(new_id(), "frozen", ttl)
                    if change == "claim"
                    else log.renew("frozen", [task_id], ttl)
                )
                frozen = asyncio.ensure_future(freezing.frozen.wait())
                await within(asyncio.wait({changing, frozen}, return_when=asyncio.FIRST_COMPLETED))
                async with asyncio.timeout(HELD_UP_SECONDS_MAX):
                    await other.append(STREAM, [make_event(f"while frozen {sent}")])
                    assert await other.claim(new_id(), "other", ttl) is not None
                stops += not changing.done()
                line.on_append = None
                freezing.go_on.set()
                await within(asyncio.gather(changing, log.close()))
                if not freezing.frozen.is_set():
                    break
    assert stops > 0, "it was frozen before it was done"


class Freezing:
    """Lets so many messages pass, then none."""

    def __init__(self, passing: int) -> None:
        self._passing = passing
        self.frozen = asyncio.Event()
        self.go_on = asyncio.Event()

    async def __call__(self, link: Link, data: bytes) -> bool:
        self._passing -= 1
        if self._passing <= 0:
            self.frozen.set()
            await self.go_on.wait()
        return True
