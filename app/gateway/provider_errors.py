"""What a failure of a provider means: fixed sentences (`app.core.model_texts`), since a provider's own text can quote
keys and addresses."""

import httpx2
from pydantic_ai import exceptions as failures

from app.core.reasons import Reason
from app.gateway.model import ModelError

RULES: tuple[tuple[type[Exception], str, str, bool], ...] = (
    (failures.ModelTimeoutError, "timeout", "model_timeout", True),
    (failures.ModelRequestTimeout, "timeout", "model_timeout", True),
    (failures.ModelConnectionError, "unreachable", "model_unreachable", True),
    (failures.ModelRateLimitError, "rate_limited", "model_slow_down", True),
    (
        failures.ModelQuotaExceededError,
        "rate_limited",
        "model_quota",
        False,
    ),
    (failures.ModelUnavailableError, "unreachable", "model_overloaded", True),
    (failures.ModelServerError, "internal", "model_provider_failed", True),
    (failures.ModelAuthenticationError, "unauthorized", "model_key_refused", False),
    (failures.ModelNotFoundError, "not_found", "model_unknown", False),
    (
        failures.ModelContextWindowExceededError,
        "bad_request",
        "model_context",
        False,
    ),
    (failures.ModelRequestRejectedError, "bad_request", "model_request_refused", False),
    (failures.ContentFilterError, "refused", "model_refused", False),
    (failures.UnexpectedModelBehavior, "malformed_answer", "model_nonsense", True),
    (httpx2.TimeoutException, "timeout", "model_timeout", True),
    (httpx2.HTTPError, "unreachable", "model_connection", True),
)


STATUSES: dict[int, tuple[str, str, bool]] = {
    408: ("timeout", "model_not_waited", True),
    409: ("unreachable", "model_busy", True),
    413: ("bad_request", "model_context_of_provider", False),
    425: ("unreachable", "model_not_ready", True),
}
"""Statuses that pydantic-ai has no category for."""


def as_model_error(error: Exception) -> ModelError:
    """The `ModelError` for a failure: by its status or category, the first rule that fits; an unknown failure is
    `internal`. A provider that says so itself is believed: whether to try again (`x-should-retry: false`), and when.
    """
    error_class, key, transient = _meaning(error)
    if isinstance(error, failures.ModelHTTPError) and error.provider_retry_hint is False:
        transient = False
    asked = error.retry_after if transient and isinstance(error, failures.ModelAPIError) else None
    reason = Reason(key, {"name": type(error).__name__})
    return ModelError(error_class, reason, transient=transient, retry_after_seconds=asked)


def _meaning(error: Exception) -> tuple[str, str, bool]:
    """The class, the text and whether it may go better later."""
    if isinstance(error, failures.ModelConnectionError) and error.phase in ("pool", "connect"):
        return (
            "unreachable",
            "model_unreachable",
            True,
        )  # also where that took too long
    for kind, error_class, key, transient in RULES:
        if isinstance(error, kind):
            return error_class, key, transient
    if isinstance(error, failures.ModelHTTPError) and 400 <= error.status_code < 500:
        rejected = ("bad_request", "model_request_refused", False)
        return STATUSES.get(error.status_code, rejected)
    if isinstance(error, failures.ModelAPIError):
        return "malformed_answer", "model_unreadable", True
    return "internal", "model_call_failed", False
