"""Appends of a run whose lease is being claimed anew, because the database was away for one of them."""

import asyncio
from datetime import timedelta
from typing import Any

from app.core.events import ToolReturned
from app.gateway.scripted import ScriptedModel
from app.log.errors import LeaseLost
from app.log.log import Log
from app.runs.ledger import Ledger
from app.runs.record import fold, read_events
from tests.support.runs import WAIT_SECONDS, FlakyLog, process, stream_events

TTL = timedelta(seconds=60)


class ClaimingLog(FlakyLog):
    """Away at its first append; a claim that has been made is only told when `go_on` is set."""

    def __init__(self, log: Log) -> None:
        super().__init__(log, 1, written=False)
        self.claimed = asyncio.Event()
        self.go_on = asyncio.Event()
        self.fenced = asyncio.Event()

    async def append(self, *arguments: Any, **options: Any) -> Any:
        try:
            return await super().append(*arguments, **options)
        except LeaseLost:
            self.fenced.set()
            raise

    async def claim(self, *arguments: Any) -> Any:
        lease = await self._log.claim(*arguments)
        self.claimed.set()
        await self.go_on.wait()
        return lease


async def test_an_append_beside_a_claim_of_ones_own_waits_for_it(log: Log) -> None:
    """Guard: `_reclaiming` around the look at the lease; without it the run is taken for lost to another worker."""
    async with process(log, ScriptedModel.of("yes")) as p:
        accepted = await p.conversations.accept("alice", "hello", "c")
    lease = await log.claim(accepted.task_id, log.node_id, TTL)
    record = fold(await read_events(log.reader, accepted.stream, accepted.task_id), accepted.task_id)
    assert lease is not None
    assert record is not None
    claiming = ClaimingLog(log)
    ledger = Ledger(claiming, accepted.stream, lease, record, ttl=TTL)  # type: ignore[arg-type]

    def returned(name: str) -> Any:
        return ledger.append([ledger.event(ToolReturned(1, "k", name, "note", "done"), name)])

    async with asyncio.timeout(WAIT_SECONDS):
        first = asyncio.create_task(returned("first"))
        await claiming.claimed.wait()
        second = asyncio.create_task(returned("second"))
        await claiming.fenced.wait()  # with the old epoch
        claiming.go_on.set()
        await asyncio.gather(first, second)
    kinds = [event.type for event in await stream_events(log, accepted.stream)]
    assert kinds.count("tool.returned") == 2
