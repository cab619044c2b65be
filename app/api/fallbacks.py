"""What clients are told where the last tier of the fallback chain answered (wire contract, section 2)."""

from typing import Any, assert_never

import msgspec

from app.core.events import ModelAnswered, ModelAttemptFailed, ModelCalled
from app.core.texts import Locale, text


class Fallback(msgspec.Struct, frozen=True):
    """`fallback_status`: `{tier, model, attempts: [{tier, model, error_class}]}`; `error_struct`: the last failure,
    `{error_class, message, recoverable}`."""

    fallback_status: dict[str, Any]
    error_struct: dict[str, Any]


class Attempts:
    """Fold over one task's events: the attempts of its newest model call. `locale` is that of its sentences."""

    def __init__(self, locale: Locale) -> None:
        self._locale: Locale = locale
        self._failed: list[ModelAttemptFailed] = []
        self._answered: ModelAnswered | None = None

    def note(self, event: ModelCalled | ModelAttemptFailed | ModelAnswered) -> None:
        match event:
            case ModelCalled():
                self._failed, self._answered = [], None
            case ModelAttemptFailed():
                self._failed.append(event)
            case ModelAnswered():
                self._answered = event
            case _ as never:
                assert_never(never)

    @property
    def fallback(self) -> Fallback | None:
        """None unless the last tier gave the newest answer. Without a failed attempt the tiers before it rest."""
        answered = self._answered
        if answered is None or answered.tier != "emergency":
            return None
        failed = [one for one in self._failed if one.step == answered.step]
        attempts = [{"tier": one.tier, "model": one.model, "error_class": one.error_class} for one in failed]
        last = failed[-1] if failed else None
        return Fallback(
            {"tier": answered.tier, "model": answered.answer.model, "attempts": attempts},
            {
                "error_class": last.error_class if last else "resting",
                "message": last.message if last else text("models_resting", self._locale),
                "recoverable": True,
            },
        )
