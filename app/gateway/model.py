"""The one interface between runs and model providers."""

from collections.abc import AsyncIterator
from typing import Protocol

import msgspec

from app.core.events import Tier
from app.core.messages import ModelAnswer, ModelRequest, Usage
from app.core.reasons import Reason
from app.core.texts import Locale


class TextDelta(msgspec.Struct, frozen=True):
    """More text of the answer that is being written."""

    text: str


class ThinkingDelta(msgspec.Struct, frozen=True):
    """More of a model's own reasoning, where the provider shows it."""

    text: str


class AttemptBegun(msgspec.Struct, frozen=True):
    """The gateway asks this model now. `attempt` counts from 1 over all tiers of one call."""

    attempt: int
    tier: Tier
    model: str


class AttemptFailed(msgspec.Struct, frozen=True):
    """The attempt that began last failed before its first text, and another one follows.

    `usage` and `cost_usd` are set where it cost something all the same: an empty answer.
    """

    attempt: int
    tier: Tier
    model: str
    error_class: str
    message: str
    duration_ms: int
    usage: Usage = Usage()
    cost_usd: float | None = None


ModelEvent = TextDelta | ThinkingDelta | AttemptBegun | AttemptFailed | ModelAnswer


class ModelError(Exception):
    """A model call failed. `error_class` is a stable word for analytics (`timeout`, `rate_limited`, `unreachable`,
    `refused`, `bad_request`, `unauthorized`, `not_found`, `malformed_answer`, `empty_answer`, `internal`);
    `told` is one sentence for people (`str(error)` the English one) and shows no key, path or stack; `transient` says
    whether the same call may work later, and `retry_after_seconds` how long the provider asks to wait before, if it
    says so.
    """

    def __init__(
        self,
        error_class: str,
        reason: Reason | str,
        *,
        transient: bool,
        retry_after_seconds: float | None = None,
    ) -> None:
        self._reason = reason
        super().__init__(self.told("en"))
        self.error_class = error_class
        self.transient = transient
        self.retry_after_seconds = retry_after_seconds

    def told(self, locale: Locale) -> str:
        """In that language; a script's own words stay as they are."""
        return self._reason if isinstance(self._reason, str) else self._reason.told(locale)


class Model(Protocol):
    """A provider, or the gateway over several. `stream` yields deltas, then exactly one `ModelAnswer` as the last item,
    or raises `ModelError`. Only the gateway yields attempts.

    Closing the iterator (or cancelling its task) stops the provider's work.
    """

    @property
    def name(self) -> str:
        """What the start banner and the events call it, for example `local/SmolLM2-135M-Instruct`."""
        ...

    def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]: ...

    def cost_usd(self, answer: ModelAnswer) -> float | None:
        """What the answer cost in US dollars; None where no price is configured for its model."""
        ...

    async def load(self) -> None:
        """Make ready what the first call would otherwise wait for; does nothing where there is nothing to load."""
        ...

    async def close(self) -> None: ...
