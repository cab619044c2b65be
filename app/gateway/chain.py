"""Which attempt follows a failed one: decisions of the fallback chain, without input, output or clock.

    main ──► main again, after a pause ──► recovery ──► … ──► emergency ──► … ──► the last failure

- A transient failure is tried again in its tier, `retries` times, with exponential back-off and full jitter
  (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015). So is an empty answer, without a pause.
- Where the provider says how long to wait (Retry-After), that is waited, and the jitter on top; where it asks for more
  than 30 s, its tier is given up.
- A time-out is only tried again in the last tier: it has taken the patience that a retry would need.
- Every other failure goes on to the next tier at once: another model may have a key, the context, or no objection.
"""

import msgspec

from app.core.events import Tier
from app.core.messages import ModelRequest
from app.gateway.model import Model, ModelError

BACKOFF_SECONDS = 0.5
BACKOFF_SECONDS_MAX = 8.0
RETRY_AFTER_SECONDS_MAX = 30.0
REST_AFTER_FAILURES = 3
REST_SECONDS = 30.0
REQUEST_FAULTS = frozenset({"bad_request", "refused", "empty_answer"})
"""Failures that say something about the request, not about the tier."""


class Link(msgspec.Struct, frozen=True):
    """A tier as it takes part in one call: what is sent to which model. `shown` is what events call it."""

    tier: Tier
    model: Model
    request: ModelRequest
    shown: str


class Again(msgspec.Struct, frozen=True):
    """The next attempt: in the same tier or the next one, after a pause."""

    next_tier: bool
    wait_seconds: float = 0.0


def following(
    failure: ModelError, *, retried: int, retries: int, more_tiers: bool, chance: float
) -> Again | None:
    """What follows a failure after `retried` retries in its tier; None: it is final. `chance` is from [0, 1)."""
    asked_seconds = failure.retry_after_seconds or 0.0
    again_here = (
        failure.transient
        and retried < retries
        and asked_seconds <= RETRY_AFTER_SECONDS_MAX
        and not (failure.error_class == "timeout" and more_tiers)
    )
    if not again_here:
        return Again(next_tier=True) if more_tiers else None
    if failure.error_class == "empty_answer":
        return Again(next_tier=False)
    backoff_seconds = min(BACKOFF_SECONDS_MAX, BACKOFF_SECONDS * 2.0**retried)
    return Again(next_tier=False, wait_seconds=asked_seconds + chance * backoff_seconds)


class Rests:
    """Tiers that are left out for a while: one whose last 3 calls failed rests for 30 s, then one more failure is
    enough. The last tier of a call never rests. Of this process alone; times are `now` in seconds, of any clock."""

    def __init__(self) -> None:
        self._failures: dict[Tier, int] = {}
        self._until: dict[Tier, float] = {}

    def awake(self, links: tuple[Link, ...], now: float) -> tuple[Link, ...]:
        return (*(link for link in links[:-1] if self._until.get(link.tier, now) <= now), *links[-1:])

    def failed(self, tier: Tier, now: float) -> None:
        self._failures[tier] = self._failures.get(tier, 0) + 1
        if self._failures[tier] >= REST_AFTER_FAILURES:
            self._until[tier] = now + REST_SECONDS

    def worked(self, tier: Tier) -> None:
        self._failures.pop(tier, None)
        self._until.pop(tier, None)
