"""Quotas in tests: set in the log as an administrator would, measured by the real views of a node."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from app.auth.following import FollowedDirectory
from app.composition.quotas import UsageMeter
from app.core.admin_events import QuotaPeriod, QuotaSet, QuotaSubject, QuotaType
from app.core.envelope import NewEvent
from app.core.events import AdminEvent
from app.core.messages import ModelAnswer, ModelRequest, Usage
from app.core.quotas import Tally
from app.core.streams import ADMIN
from app.gateway.model import ModelEvent
from app.gateway.scripted import Answer, Rule, ScriptedCall, ScriptedModel, When
from app.log.ids import new_id
from app.log.log import Log
from app.runs.quotas import Charge, Meter, Quotas
from projections import usage
from projections.reads import read_pool
from projections.runner import ProjectionRunner

SALES = Charge("sales", "sales", bound=True)
ALONE = Charge(bound=True)
TOKENS_A_CALL = 100


def department_quota(quota_type: QuotaType, limit: float, period: QuotaPeriod = "month") -> QuotaSet:
    return QuotaSet("department", "sales", quota_type, period, limit)


async def administer(log: Log, *events: AdminEvent) -> None:
    await log.append(ADMIN, [NewEvent(new_id(), event, "user:root") for event in events])


class CountingMeter:
    """A meter that counts how often it was asked, and for what."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self.asked: list[tuple[QuotaSubject, str]] = []

    async def tally(self, subject: QuotaSubject, subject_id: str) -> Tally:
        self.asked.append((subject, subject_id))
        return await self._meter.tally(subject, subject_id)


@asynccontextmanager
async def measured(
    log: Log, dsn: str, *, now: Callable[[], datetime] | None = None
) -> AsyncIterator[tuple[Quotas, CountingMeter]]:
    """The quotas of a node on this log, with views of its own. By default its clock stands still, so that no hour ends
    in the middle of a test."""
    began = datetime.now(UTC)
    views = ProjectionRunner(dsn, [usage.BY_DEPARTMENT, usage.BY_USER])
    await asyncio.to_thread(views.start)
    log.wakeups.on_any(views.wake)
    try:
        async with read_pool(dsn) as reads:
            meter = CountingMeter(UsageMeter(log, views, reads, now=now or (lambda: began)))
            yield Quotas(FollowedDirectory(log), meter, log.exclusively), meter
    finally:
        await asyncio.to_thread(views.close)


class PricedModel(ScriptedModel):
    """Every call uses 100 tokens and costs a cent. It calculates `rounds` times before it answers."""

    def __init__(self, rounds: int = 0) -> None:
        call = Answer(tool_calls=(ScriptedCall("calculator", {"expression": "1+1"}),))
        super().__init__([Rule(call, When(step=step)) for step in range(rounds)])

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        async for event in super().stream(request):
            if isinstance(event, ModelAnswer):
                usage_of_call = Usage(TOKENS_A_CALL - 40, 40)
                event = ModelAnswer(event.model, event.text, event.thinking, event.tool_calls, usage_of_call)  # noqa: PLW2901
            yield event

    def cost_usd(self, answer: ModelAnswer) -> float | None:
        return 0.01
