"""Budgets of a run: tokens and cost of its model calls, those of its child runs included, and wall time."""

import msgspec

from app.core.events import ChildEnded, RunLimits
from app.core.texts import Locale, text
from app.runs.ending import used
from app.runs.record import RunRecord

SPEAKERS_SHARE = 0.8
"""Of its time that a meeting may use for speeches; what is left is for its conclusion."""


class Spent(msgspec.Struct, frozen=True):
    """What a run has used: tokens, US dollars, and seconds without waiting for people."""

    tokens: int
    cost_usd: float
    seconds: float


def spent(record: RunRecord, active_seconds: float) -> Spent:
    usage, cost_usd = used(record)
    children = [closed for closed in record.outcomes.values() if isinstance(closed, ChildEnded)]
    return Spent(
        usage.total_tokens + sum(child.tokens for child in children),
        (cost_usd or 0.0) + sum(child.cost_usd or 0.0 for child in children),
        active_seconds,
    )


def exceeded(limits: RunLimits, spent: Spent, locale: Locale) -> str | None:
    """One sentence that says which budget is used up; None where there is some left for another call."""
    if limits.tokens_max is not None and spent.tokens >= limits.tokens_max:
        return text("budget_tokens", locale, limit=limits.tokens_max)
    if limits.cost_usd_max is not None and spent.cost_usd >= limits.cost_usd_max:
        return text("budget_cost", locale, limit=f"{limits.cost_usd_max:g}")
    return None


def exceeded_for_speaker(limits: RunLimits, spent: Spent, locale: Locale) -> str | None:
    """The same for a meeting, which has to conclude within its time."""
    seconds = limits.timeout_seconds * SPEAKERS_SHARE
    if spent.seconds >= seconds:
        return text("run_timeout", locale, seconds=f"{seconds:g}")
    return exceeded(limits, spent, locale)


def left_for_child(limits: RunLimits, spent: Spent, asked: RunLimits) -> RunLimits:
    """What a child run may use of what its parent has left, at least a token, a cent's hundredth and a second."""
    tokens = None if limits.tokens_max is None else max(1, limits.tokens_max - spent.tokens)
    cost = None if limits.cost_usd_max is None else max(0.0001, limits.cost_usd_max - spent.cost_usd)
    tokens_max = asked.tokens_max if tokens is None else min(tokens, asked.tokens_max or tokens)
    cost_usd_max = asked.cost_usd_max if cost is None else min(cost, asked.cost_usd_max or cost)
    left_seconds = max(1.0, min(asked.timeout_seconds, limits.timeout_seconds - spent.seconds))
    return RunLimits(asked.max_steps, left_seconds, tokens_max, cost_usd_max)
