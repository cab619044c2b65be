"""Interventions: a further message that steers a running task instead of waiting for its end.

Such a message is accepted as a task of its own, pending, with `steers`. If the running task listens in time it hears
the message, and that task ends as merged, both in one append. If it never does, the task takes its turn like any other:
nothing that a person said is lost.
"""

import asyncio
from contextlib import suppress
from functools import partial
from uuid import UUID

from app.core.events import TERMINAL_TYPES, Intervention, InterventionHeard, RunMerged
from app.core.ids import derived_id
from app.log.errors import LogError
from app.log.log import Lease, Log
from app.runs.ledger import Ledger, patiently
from app.runs.record import RunRecord, ear_key, fold, read_events, steering_of

CLAIM_AGAIN_SECONDS = 0.05


class Ears:
    """What a run has still to hear. Fed by whoever watches the stream."""

    def __init__(self, log: Log, record: RunRecord, ledger: Ledger) -> None:
        self._log = log
        self._record = record
        self._ledger = ledger
        self._said: dict[str, Intervention] = dict(record.steering)
        self._over: set[str] = set()
        self._listened_until = record.head

    @property
    def has_word(self) -> bool:
        """Whether there is something to hear."""
        return bool(self._said)

    def say(self, message: Intervention) -> None:
        """Somebody has said this to the run."""
        key = ear_key(message)
        if key not in self._over:
            self._said.setdefault(key, message)

    def withdraw(self, task_id: UUID) -> None:
        """The message's own task has ended: there is nothing to hear any more."""
        self._withdraw(str(task_id))

    def _withdraw(self, key: str) -> None:
        self._over.add(key)
        self._said.pop(key, None)

    async def hear(self, step: int) -> tuple[str, ...]:
        """All that was said since the last time, put on record behind `step`. Raises what the ledger raises."""
        await self._catch_up()
        leases: dict[str, Lease] = {}
        heard: list[Intervention] = []
        for key, message in list(self._said.items()):
            if message.task_id:
                lease = await self._take(UUID(message.task_id))
                if lease is None:
                    continue
                leases[key] = lease
            heard.append(message)
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
            if message.task_id
        ]
        await ledger.append([on_record, *merged])
        for message in heard:
            self._withdraw(ear_key(message))
        for lease in leases.values():
            with suppress(LogError):
                await self._log.release(lease)
        return tuple(message.content for message in heard)

    async def _catch_up(self) -> None:
        """What was said up to now: the watch looks only ten times a second, and who was told that they are heard has
        to be heard by whoever speaks next."""
        read = partial(self._log.reader.stream, self._ledger.stream)
        while page := await patiently(partial(read, after=self._listened_until)):
            for recorded in page:
                if recorded.type in TERMINAL_TYPES and recorded.task_id is not None:
                    self.withdraw(recorded.task_id)
                elif (message := steering_of(recorded, self._record.task_id)) is not None:
                    self.say(message)
            self._listened_until = page[-1].offset

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
            if lease is not None or str(task_id) in self._over or clock() >= deadline:
                return lease
            await asyncio.sleep(CLAIM_AGAIN_SECONDS)
