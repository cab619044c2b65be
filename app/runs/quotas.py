"""Quotas at work: asked before a message is taken and before each model call, from what the log has recorded by then.

    message ──► who pays? ──► their quotas ──► what was used, as of now ──► reached: refused, nothing is written
                                                                       └──► taken; under a quota of requests one
                                                                            at a time for each subject, on all nodes
    model call ──► the same, of tokens and cost ──► reached: the run fails with `quota_exceeded`

Nothing of a check is recorded: what counts are the events of requests and calls themselves, so a replay, which makes no
call that has its outcome, asks nothing. Where a quota applies a run makes one model call at a time; so all runs
together go over a quota by no more than the call that each of them has under way.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Container, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Protocol

import msgspec

from app.auth.following import FollowedDirectory
from app.auth.principal import Principal
from app.core.admin_events import QuotaInfo, QuotaSet, QuotaSubject, QuotaType
from app.core.events import RunRequested
from app.core.intents import RunAborted
from app.core.quotas import (
    CALL_TYPES,
    MESSAGE_TYPES,
    QUOTA_EXCEEDED,
    Reached,
    Tally,
    reached,
    sentence_of,
)
from app.core.texts import Locale
from app.runs.ledger import patiently
from app.runs.refused import QuotaExceeded

Exclusively = Callable[..., AbstractAsyncContextManager[None]]
"""`Log.exclusively`."""


class Meter(Protocol):
    """What was used."""

    async def tally(self, subject: QuotaSubject, subject_id: str) -> Tally:
        """With everything that is committed now. Raises `LogUnavailable`."""
        ...


class Charge(msgspec.Struct, frozen=True):
    """Who pays for a message: `department_id` is the user's, `charged_to` the one against whose quotas the use counts;
    `bound` says whether quotas bind it at all."""

    department_id: str = ""
    charged_to: str = ""
    bound: bool = False


UNBOUND = Charge()


def charge_of(principal: Principal) -> Charge:
    return Charge(principal.department_id, principal.charged_to, principal.is_bound)


def with_charge(requested: RunRequested, charge: Charge) -> RunRequested:
    """The request of the task, with who pays for it."""
    return msgspec.structs.replace(requested, **msgspec.structs.asdict(charge))


class QuotaReached(RunAborted):
    """A model call may not be made: a quota is used up."""

    def __init__(self, message: str, info: QuotaInfo) -> None:
        super().__init__(QUOTA_EXCEEDED, message)
        self.info = info


class Quotas:
    """One instance a process."""

    def __init__(self, directory: FollowedDirectory, meter: Meter, exclusively: Exclusively) -> None:
        self._directory = directory
        self._meter = meter
        self._exclusively = exclusively

    async def applying(self, owner: str, charge: Charge) -> list[tuple[QuotaSet, ...]]:
        """The quotas that bind whoever pays, by subject: as they are set now. Raises `LogUnavailable`."""
        if not charge.bound:
            return []
        directory = await self._directory.caught_up()
        subjects: list[tuple[QuotaSubject, str]] = [("department", charge.charged_to), ("user", owner)]
        found = (directory.quotas(kind, one) for kind, one in subjects if one)
        return [quotas for quotas in found if quotas]

    async def standing(self, subject: QuotaSubject, subject_id: str) -> list[tuple[QuotaSet, Tally]]:
        """Every quota of the subject as it is set now, with what was used by now. Raises `LogUnavailable`."""
        quotas = (await self._directory.caught_up()).quotas(subject, subject_id)
        if not quotas:
            return []
        tally = await self._meter.tally(subject, subject_id)
        return [(quota, tally) for quota in quotas]

    async def membership(self, user_id: str) -> tuple[str, bool]:
        """The user's department as it is now, empty where there is none, and whether quotas bind what they do
        themselves. Raises `LogUnavailable`."""
        user = (await self._directory.caught_up()).user(user_id)
        return ("", True) if user is None else (user.department_id, user.role == "member")

    async def reached(
        self, applying: Sequence[tuple[QuotaSet, ...]], types: Container[QuotaType]
    ) -> Reached | None:
        """The one that is used up for longest, if any is. Raises `LogUnavailable`."""
        found: list[Reached] = []
        for quotas in applying:
            counted = [quota for quota in quotas if quota.quota_type in types]
            if counted:
                tally = await self._meter.tally(counted[0].subject, counted[0].subject_id)
                found += [one for one in (reached(counted, tally, types),) if one is not None]
        return max(found, key=lambda one: one.resets_at, default=None)

    @asynccontextmanager
    async def entering(self, owner: str, charge: Charge) -> AsyncGenerator[None]:
        """Around the append that takes a message. Raises `QuotaExceeded`, `LogUnavailable`, and `LogOverloaded` where
        too many messages are taken under the same quota of requests."""
        async with AsyncExitStack() as stack:
            if applying := await self.applying(owner, charge):
                names = [
                    f"quota/{quota.subject}/{quota.subject_id}"
                    for quotas in applying
                    for quota in quotas
                    if quota.quota_type == "requests"
                ]
                if names:
                    await stack.enter_async_context(self._exclusively(*names))
                if (one := await self.reached(applying, MESSAGE_TYPES)) is not None:
                    raise QuotaExceeded(one)
            yield


class RunQuota:
    """The quotas of one run. None are set where `quotas` is None."""

    def __init__(self, quotas: Quotas | None, owner: str, requested: RunRequested, locale: Locale) -> None:
        self._quotas = quotas if requested.bound else None
        self._owner = owner
        self._charge = Charge(requested.department_id, requested.charged_to, requested.bound)
        self._locale: Locale = locale
        self._calling = asyncio.Lock()

    @asynccontextmanager
    async def calling(self) -> AsyncGenerator[None]:
        """Around a model call and the append of its outcome. Raises `QuotaReached`; waits while the database is away,
        and raises `LogUnavailable` after 300 s."""
        async with AsyncExitStack() as stack:
            if self._quotas is not None:
                await stack.enter_async_context(self._calling)
                if not await self._demand(self._quotas):
                    await stack.aclose()
            yield

    async def demand(self) -> None:
        """Raises `QuotaReached` where no call may be made now, and what `calling` raises."""
        if self._quotas is not None:
            await self._demand(self._quotas)

    async def _demand(self, quotas: Quotas) -> bool:
        """Whether a quota of model calls applies at all."""
        applying = await patiently(lambda: quotas.applying(self._owner, self._charge))
        one = await patiently(lambda: quotas.reached(applying, CALL_TYPES))
        if one is not None:
            raise QuotaReached(sentence_of(one, self._locale), one.info)
        return any(quota.quota_type in CALL_TYPES for one in applying for quota in one)
