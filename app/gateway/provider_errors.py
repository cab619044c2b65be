"""What a failure of a provider means: fixed sentences, since a provider's own text can quote keys and addresses."""

import httpx2
from pydantic_ai import exceptions as failures

from app.gateway.model import ModelError

RULES: tuple[tuple[type[Exception], str, str, bool], ...] = (
    (failures.ModelTimeoutError, "timeout", "The model did not answer in time.", True),
    (failures.ModelRequestTimeout, "timeout", "The model did not answer in time.", True),
    (failures.ModelConnectionError, "unreachable", "The model's provider could not be reached.", True),
    (failures.ModelRateLimitError, "rate_limited", "The model's provider asks to slow down.", True),
    (
        failures.ModelQuotaExceededError,
        "rate_limited",
        "The quota at the model's provider is used up.",
        False,
    ),
    (failures.ModelUnavailableError, "unreachable", "The model's provider is overloaded or down.", True),
    (failures.ModelServerError, "internal", "The model's provider failed.", True),
    (failures.ModelAuthenticationError, "unauthorized", "The model's provider refused the API key.", False),
    (failures.ModelNotFoundError, "not_found", "The model's provider does not know this model.", False),
    (
        failures.ModelContextWindowExceededError,
        "bad_request",
        "The conversation is too long for the model.",
        False,
    ),
    (failures.ModelRequestRejectedError, "bad_request", "The model's provider refused the request.", False),
    (failures.ContentFilterError, "refused", "The model's provider refused to answer.", False),
    (failures.UnexpectedModelBehavior, "malformed_answer", "The model's answer made no sense.", True),
    (httpx2.TimeoutException, "timeout", "The model did not answer in time.", True),
    (httpx2.HTTPError, "unreachable", "The connection to the model's provider broke.", True),
)


STATUSES: dict[int, tuple[str, str, bool]] = {
    408: ("timeout", "The model's provider did not wait for the request.", True),
    409: ("unreachable", "The model's provider is busy with something else.", True),
    413: ("bad_request", "The conversation is too long for the model's provider.", False),
    425: ("unreachable", "The model's provider is not ready yet.", True),
}
"""Statuses that pydantic-ai has no category for."""


def as_model_error(error: Exception) -> ModelError:
    """The `ModelError` for a failure: by its status or category, the first rule that fits; an unknown failure is
    `internal`. A provider that says so itself is believed: whether to try again (`x-should-retry: false`), and when.
    """
    error_class, message, transient = _meaning(error)
    if isinstance(error, failures.ModelHTTPError) and error.provider_retry_hint is False:
        transient = False
    asked = error.retry_after if transient and isinstance(error, failures.ModelAPIError) else None
    return ModelError(error_class, message, transient=transient, retry_after_seconds=asked)


def _meaning(error: Exception) -> tuple[str, str, bool]:
    if isinstance(error, failures.ModelConnectionError) and error.phase in ("pool", "connect"):
        return (
            "unreachable",
            "The model's provider could not be reached.",
            True,
        )  # also where that took too long
    for kind, error_class, message, transient in RULES:
        if isinstance(error, kind):
            return error_class, message, transient
    if isinstance(error, failures.ModelHTTPError) and 400 <= error.status_code < 500:
        rejected = ("bad_request", "The model's provider refused the request.", False)
        return STATUSES.get(error.status_code, rejected)
    if isinstance(error, failures.ModelAPIError):
        return "malformed_answer", "The model's answer is incomplete or not readable.", True
    return "internal", f"The call of the model failed ({type(error).__name__}).", False
