"""`/metrics` for Prometheus: what was counted as it happened (`app/telemetry/figures.py`), and what there is now.

For development mode, for admins and auditors, and for everybody where the setting `metrics_public` says so.
"""

import asyncio
from collections.abc import Iterator

from litestar import Response, get
from litestar.exceptions import NotAuthorizedException, PermissionDeniedException
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from app import release
from app.api.problems import problems
from app.api.security import AnyRequest
from app.api.services import Services
from app.api.sockets import presented
from app.core.texts import text
from app.log.figures import SECONDS, AppendFigures
from app.telemetry.figures import REGISTRY
from projections import ALL
from projections.lag import Lag, read_lags
from projections.reads import ViewsUnavailable

LAG_SECONDS_MAX = 2.0
"""How long the database is asked how far the views are."""


@get(
    "/metrics",
    summary="Figures for Prometheus",
    tags=["operation"],
    media_type="text/plain",
    responses=problems(401, 403),
)
async def metrics(request: AnyRequest, services: Services) -> Response[bytes]:
    """Prometheus' text format, or OpenMetrics where `Accept` asks for it."""
    await demand_reader(request, services)
    encode, media_type = choose_encoder(request.headers.get("accept", ""))
    now = CollectorRegistry()
    now.register(_Now(services, await _lags(services)))
    body = await asyncio.to_thread(lambda: _joined(encode(REGISTRY), encode(now)))
    return Response(body, headers={"Content-Type": media_type, "Cache-Control": "no-store"})


async def demand_reader(request: AnyRequest, services: Services) -> None:
    """Raises 401 without a key, 403 for members."""
    if services.options.metrics_public:
        return
    locale = services.options.locale
    principal = await services.identities.identify(presented(request))
    if principal is None:
        raise NotAuthorizedException(text("unauthorized", locale), headers={"WWW-Authenticate": "Bearer"})
    if not principal.sees_all:
        raise PermissionDeniedException(text("metrics_forbidden", locale))


def _joined(counted: bytes, collected: bytes) -> bytes:
    """Two expositions in one; that of OpenMetrics has a last line."""
    return counted.removesuffix(b"# EOF\n") + collected


class _Now(Collector):
    """What there is now. `lags` is empty where the database did not answer."""

    def __init__(self, services: Services, lags: dict[str, Lag]) -> None:
        self._services = services
        self._lags = lags

    def collect(self) -> Iterator[Metric]:
        yield from self._log()
        yield from self._sockets()
        yield from self._runs()
        yield from self._views()
        yield from self._pools()
        about = GaugeMetricFamily("minutebook_info", "Always 1", labels=["version", "node"])
        about.add_metric([release.VERSION, self._services.log.node_id], 1)
        yield about

    def _log(self) -> Iterator[Metric]:
        figures = self._services.log.figures
        position = GaugeMetricFamily(
            "minutebook_log_position", "Newest position that this process knows", labels=["partition"]
        )
        events = CounterMetricFamily(
            "minutebook_log_events_appended", "Events that this process has appended", labels=["partition"]
        )
        appends = CounterMetricFamily(
            "minutebook_log_appends", "Appends that were acknowledged", labels=["partition"]
        )
        batches = CounterMetricFamily(
            "minutebook_log_batches", "Batches they were written in", labels=["partition"]
        )
        seconds = HistogramMetricFamily(
            "minutebook_log_append_seconds",
            "From the call to the commit, of the append of each batch that waited longest",
            labels=["partition"],
        )
        waiting = GaugeMetricFamily(
            "minutebook_log_waiting_events", "Events that wait to be written", labels=["partition"]
        )
        waiting_bytes = GaugeMetricFamily(
            "minutebook_log_waiting_bytes", "Their payloads' size", labels=["partition"]
        )
        for number, partition in enumerate(figures.partitions):
            label, appended = [str(number)], partition.appended
            position.add_metric(label, partition.position)
            events.add_metric(label, appended.events)
            appends.add_metric(label, appended.appends)
            batches.add_metric(label, appended.batches)
            seconds.add_metric(label, _buckets(appended), appended.seconds)
            waiting.add_metric(label, partition.waiting_events)
            waiting_bytes.add_metric(label, partition.waiting_bytes)
        yield from (position, events, appends, batches, seconds, waiting, waiting_bytes)
        yield GaugeMetricFamily("minutebook_log_streams_read", "Streams that are read now", figures.streams)

    def _sockets(self) -> Iterator[Metric]:
        sockets = self._services.sockets
        yield _by("minutebook_sockets", "Open sockets", "surface", sockets.open_by_surface())
        frames = CounterMetricFamily(
            "minutebook_socket_frames", "Frames of sockets", labels=["surface", "direction"]
        )
        for surface, (frames_in, frames_out) in sockets.frames_by_surface().items():
            frames.add_metric([surface, "in"], frames_in)
            frames.add_metric([surface, "out"], frames_out)
        yield frames

    def _runs(self) -> Iterator[Metric]:
        states = dict.fromkeys(("running", "pending", "waiting"), 0) | self._services.runs.states()
        yield _by("minutebook_runs_here", "Runs that this process has", "state", states)
        leases = states["running"] + states["waiting"]
        yield GaugeMetricFamily("minutebook_leases", "Runs whose lease this process holds", leases)

    def _views(self) -> Iterator[Metric]:
        """As the database knows it; without it what this process knows, and no seconds: 0 would mean all is well."""
        found = {status.name: status for status in self._services.views.status()}
        lags = self._lags
        behind = {name: lags[name].events if name in lags else one.behind for name, one in found.items()}
        yield _by("minutebook_view_lag_events", "Events that a view has not folded yet", "view", behind)
        seconds = {name: lags[name].seconds for name in found if name in lags}
        yield _by("minutebook_view_lag_seconds", "Age of the oldest of them", "view", seconds)
        stopped = {
            name: int(one.stopped is not None or (name in lags and lags[name].problem != ""))
            for name, one in found.items()
        }
        yield _by("minutebook_view_stopped", "1: it needs a person", "view", stopped)

    def _pools(self) -> Iterator[Metric]:
        figures, views = self._services.log.figures, self._services.reads.get_stats()
        connections = GaugeMetricFamily(
            "minutebook_pool_connections", "Connections to the database", labels=["pool", "state"]
        )
        idle = views.get("pool_available", 0)
        connections.add_metric(["log", "idle"], figures.pool_idle)
        connections.add_metric(["log", "busy"], figures.pool_connections - figures.pool_idle)
        connections.add_metric(["views", "idle"], idle)
        connections.add_metric(["views", "busy"], views.get("pool_size", 0) - idle)
        yield connections
        waiting = views.get("requests_waiting", 0)
        yield _by("minutebook_pool_waiting", "Reads that wait for a connection", "pool", {"views": waiting})


def _by(name: str, what: str, label: str, values: dict[str, int] | dict[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, what, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _buckets(figures: AppendFigures) -> list[tuple[str, float]]:
    """As Prometheus has them: each counts all below its end."""
    counted, found = 0, list[tuple[str, float]]()
    for end, count in zip((*SECONDS, float("inf")), figures.buckets, strict=True):
        counted += count
        found.append(("+Inf" if end == float("inf") else str(end), counted))
    return found


async def _lags(services: Services) -> dict[str, Lag]:
    """How far the views are, whichever node folds them. Empty where the database is away, or slow."""
    try:
        async with asyncio.timeout(LAG_SECONDS_MAX):
            return {lag.name: lag for lag in await read_lags(services.reads, ALL)}
    except (ViewsUnavailable, TimeoutError):
        return {}
