"""Interventions: a further message that steers a running task instead of waiting for its end.

Such a message is accepted as a task of its own, pending, with `steers`. If the running task listens in time it hears
the message, and that task ends as merged, both in one append. If it never does, the task takes its turn like any other:
nothing that a person said is lost.
"""

import asyncio
from contextlib import suppress
from uuid import UUID

from app.core.events import Intervention, InterventionHeard, RunMerged
from app.core.ids import derived_id
from app.log.errors import LogError
from app.log.log import Lease, Log
from app.runs.ledger import Ledger, patiently
from app.runs.record import RunRecord, fold, read_events

CLAIM_AGAIN_SECONDS = 0.05


class Ears:
    """What a run has still to hear. Fed by whoever watches the stream."""

    def __init__(self, log: Log, record: RunRecord, ledger: Ledger) -> None:
        self._log = log
        self._record = record
        self._ledger = ledger
        self._said: dict[UUID, Intervention] = dict(record.steering)
        self._over: set[UUID] = set()

    def say(self, message: Intervention) -> None:
        """Somebody has said this to the run."""
        task_id = UUID(message.task_id)
        if task_id not in self._over:
            self._said.setdefault(task_id, message)

    def withdraw(self, task_id: UUID) -> None:
        """The message's own task has ended: there is nothing to hear any more."""
        self._over.add(task_id)
        self._said.pop(task_id, None)

    async def hear(self, step: int) -> tuple[str, ...]:
        """All that was said since the last time, put on record behind `step`. Raises what the ledger raises."""
        leases = {task_id: await self._take(task_id) for task_id in list(self._said)}
        heard = [self._said[task_id] for task_id, lease in leases.items() if lease is not None]
        if not heard:
            return ()
        ledger, into = self._ledger, str(self._record.task_id)
        on_record = ledger.event(
            InterventionHeard(step, tuple(heard)), derived_id(self._record.task_id, "heard", step)
        )
        merged = [
            ledger.event(
                RunMerged(into, message.message_id), "ended", on_record.id, task_id=UUID(message.task_id)
            )
            for message in heard
        ]
        await ledger.append([on_record, *merged])
        for task_id, lease in leases.items():
            if lease is not None:
                self.withdraw(task_id)
                with suppress(LogError):
                    await self._log.release(lease)
        return tuple(message.content for message in heard)

    async def _take(self, task_id: UUID) -> Lease | None:
        """The lease of the message's task, so that nobody else can end it; None if it is not ours to end."""
        lease = await self._claim(task_id)
        if lease is None:
            return None
        events = await patiently(lambda: read_events(self._log.reader, self._ledger.stream, task_id))
        record = fold(events, task_id)
        if record is not None and not record.ended and record.stop is None:
            return lease
        if record is None or record.ended:
            self.withdraw(task_id)
        with suppress(LogError):
            await self._log.release(lease)
        return None

    async def _claim(self, task_id: UUID) -> Lease | None:
        """Waits while somebody else has it, at most the lease time: a worker of this run that died while it heard the
        message. Had the run gone on without it, it would have gone on differently than that worker."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._ledger.ttl.total_seconds()
        while True:
            lease = await patiently(lambda: self._log.claim(task_id, self._log.node_id, self._ledger.ttl))
            if lease is not None or task_id in self._over or clock() >= deadline:
                return lease
            await asyncio.sleep(CLAIM_AGAIN_SECONDS)
