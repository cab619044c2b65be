"""What is counted as it happens, for `/metrics`. What can be looked up is collected when it is asked for instead
(`app/api/metrics.py`).

Labels have few values: names of configured models, tools and modes, words for outcomes, templates of routes; no ids, no
texts of people.
"""

from collections.abc import Iterable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

disable_created_metrics()  # as many lines again, and nobody asks for them

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)

_requests = Counter(
    "minutebook_http_requests",
    "Requests and sockets that ended",
    ("method", "route", "status"),
    registry=REGISTRY,
)
_request_seconds = Histogram(
    "minutebook_http_request_seconds",
    "How long requests took; streams and sockets are not in it",
    ("method", "route"),
    buckets=SECONDS,
    registry=REGISTRY,
)
_runs = Counter("minutebook_runs", "Runs that ended here", ("mode", "outcome"), registry=REGISTRY)
_run_seconds = Histogram(
    "minutebook_run_seconds", "How long runs took", ("mode",), buckets=SECONDS, registry=REGISTRY
)
_models = Counter(
    "minutebook_model_calls", "Attempts at models", ("model", "tier", "outcome"), registry=REGISTRY
)
_model_seconds = Histogram(
    "minutebook_model_call_seconds",
    "How long attempts at models took",
    ("model", "tier"),
    buckets=SECONDS,
    registry=REGISTRY,
)
_tokens = Counter(
    "minutebook_model_tokens",
    "Tokens of models, by direction",
    ("model", "tier", "direction"),
    registry=REGISTRY,
)
_tools = Counter("minutebook_tool_calls", "Calls of tools", ("tool", "outcome"), registry=REGISTRY)
_tool_seconds = Histogram(
    "minutebook_tool_call_seconds",
    "How long calls of tools took",
    ("tool",),
    buckets=SECONDS,
    registry=REGISTRY,
)
_checked_at = Gauge(
    "minutebook_view_checked_timestamp_seconds",
    "When the newest check on record of a view was made, since 1970",
    ("view",),
    registry=REGISTRY,
)
_differences = Gauge(
    "minutebook_view_differences",
    "Rows of a view that were not what the log says, when it was last checked",
    ("view",),
    registry=REGISTRY,
)
_not_compared = Gauge(
    "minutebook_view_check_failed",
    "1: the newest check on record of a view could not compare it",
    ("view",),
    registry=REGISTRY,
)


def request(method: str, route: str, status: int, seconds: float | None) -> None:
    """`seconds` is None for what is open as long as its client likes."""
    _requests.labels(method, route, str(status)).inc()
    if seconds is not None:
        _request_seconds.labels(method, route).observe(seconds)


def run(mode: str, outcome: str, seconds: float) -> None:
    """`outcome` is completed, cancelled, or the class of the error."""
    _runs.labels(mode, outcome).inc()
    _run_seconds.labels(mode).observe(seconds)


def model_call(
    model: str, tier: str, outcome: str, seconds: float, prompt_tokens: int = 0, completion_tokens: int = 0
) -> None:
    """`outcome` is answered, or the class of the error."""
    _models.labels(model, tier, outcome).inc()
    _model_seconds.labels(model, tier).observe(seconds)
    if prompt_tokens:
        _tokens.labels(model, tier, "prompt").inc(prompt_tokens)
    if completion_tokens:
        _tokens.labels(model, tier, "completion").inc(completion_tokens)


def tool_call(tool: str, outcome: str, seconds: float) -> None:
    """`outcome` is returned, or the class of the error."""
    _tools.labels(tool, outcome).inc()
    _tool_seconds.labels(tool).observe(seconds)


def views_checked(checks: Iterable[tuple[str, float, int, bool]]) -> None:
    """All that is on record now: view, seconds since 1970, rows that differ, whether they could not be compared."""
    for gauge in (_checked_at, _differences, _not_compared):
        gauge.clear()
    for view, at_seconds, differences, failed in checks:
        _checked_at.labels(view).set(at_seconds)
        _differences.labels(view).set(differences)
        _not_compared.labels(view).set(int(failed))
