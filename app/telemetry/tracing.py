"""Traces by OpenTelemetry with the names of its GenAI conventions. Off unless `open_tracing` was called.

    HTTP request ─► invoke_agent {agent} ─┬─► chat {model}
                                          ├─► execute_tool {tool}
                                          └─► invoke_agent {agent} of a member of a team

Spans carry names and numbers, never what was said. While it is off nothing of OpenTelemetry is imported.
"""

import importlib.util
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from app import release

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

Value = str | int | float | bool
EXPORT_SECONDS = 3
PACKAGES = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")


class TracingUnavailable(ValueError):
    """`otel_endpoint` is set but OpenTelemetry is not installed; the message says what to do."""


class _State:
    provider: "TracerProvider | None" = None
    tracer: "Tracer | None" = None


_state = _State()


def demand() -> None:
    """Raises `TracingUnavailable`."""
    missing = [name for name in PACKAGES if not _is_there(name)]
    if missing:
        raise TracingUnavailable(
            f"setting 'otel_endpoint' is set but {', '.join(missing)} is not installed: pip install 'minutebook[otel]'"
        )


def open_tracing(endpoint: str, node_id: str) -> None:
    """Send spans to a collector that speaks OTLP over HTTP, for example `http://127.0.0.1:4318`, in batches from a
    thread of its own. A collector that is away costs spans, nothing else."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create(
        {"service.name": "minutebook", "service.version": release.VERSION, "service.instance.id": node_id}
    )
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(
        BatchSpanProcessor(OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_SECONDS))
    )
    _state.provider = provider
    _state.tracer = provider.get_tracer("minutebook", release.VERSION)


def close_tracing() -> None:
    """Send what is left, for at most 3 s or so. Blocks meanwhile."""
    provider, _state.provider, _state.tracer = _state.provider, None, None
    if provider is not None:
        provider.shutdown()


class Traced:
    """A span, or nothing where there is no tracing."""

    __slots__ = ("_span",)

    def __init__(self, span: "Span | None") -> None:
        self._span = span

    def note(self, **attributes: Value | None) -> None:
        """Attributes that are known only now, with `__` for the dot in their names."""
        if self._span is not None:
            for key, value in attributes.items():
                if value is not None:
                    self._span.set_attribute(key.replace("__", "."), value)

    def fail(self, error_class: str) -> None:
        """It went wrong; the class of the error, no text."""
        if self._span is not None:
            from opentelemetry.trace import StatusCode

            self._span.set_attribute("error.type", error_class)
            self._span.set_status(StatusCode.ERROR, error_class)

    def end(self) -> None:
        if self._span is not None:
            self._span.end()


_NOTHING = Traced(None)


@contextmanager
def request_span(headers: Mapping[bytes, bytes]) -> Generator[None]:
    """An HTTP request, within the trace that its header `traceparent` names. Its name comes at its end."""
    if (tracer := _state.tracer) is None:
        yield
        return
    from opentelemetry.trace import SpanKind
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier = {
        name: headers[name.encode()].decode("latin-1")
        for name in ("traceparent", "tracestate")
        if name.encode() in headers
    }
    parent = TraceContextTextMapPropagator().extract(carrier)
    with tracer.start_as_current_span("HTTP", parent, SpanKind.SERVER, record_exception=False):
        yield


def name_request(method: str, route: str, status: int) -> None:
    """The current span is of this request."""
    if _state.tracer is None:
        return
    from opentelemetry.trace import StatusCode, get_current_span

    span = get_current_span()
    span.update_name(f"{method} {route}")
    span.set_attributes(
        {"http.request.method": method, "http.route": route, "http.response.status_code": status}
    )
    if status >= 500:
        span.set_attribute("error.type", str(status))
        span.set_status(StatusCode.ERROR)


@contextmanager
def run_span(agent: str, **attributes: Value | None) -> Generator[Traced]:
    """A run, `invoke_agent {agent}`. What it does is within it."""
    if (tracer := _state.tracer) is None:
        yield _NOTHING
        return
    told = _named(gen_ai__operation__name="invoke_agent", gen_ai__agent__name=agent, **attributes)
    with tracer.start_as_current_span(
        f"invoke_agent {agent}", attributes=told, record_exception=False, set_status_on_exception=False
    ) as span:
        yield Traced(span)


@contextmanager
def tool_span(tool: str, call_id: str, **attributes: Value | None) -> Generator[Traced]:
    """A call of a tool, `execute_tool {tool}`."""
    if (tracer := _state.tracer) is None:
        yield _NOTHING
        return
    told = _named(
        gen_ai__operation__name="execute_tool",
        gen_ai__tool__name=tool,
        gen_ai__tool__call__id=call_id,
        gen_ai__tool__type="function",
        **attributes,
    )
    with tracer.start_as_current_span(
        f"execute_tool {tool}", attributes=told, record_exception=False, set_status_on_exception=False
    ) as span:
        yield Traced(span)


def model_span(model: str, **attributes: Value | None) -> Traced:
    """An attempt at a model, `chat {model}`, in the current run. End it with `end`: its text comes from a generator, so
    it is nobody's surroundings. `model` is shown as `provider/name`."""
    if (tracer := _state.tracer) is None:
        return _NOTHING
    from opentelemetry.trace import SpanKind

    provider, _, name = model.partition("/")
    told = _named(
        gen_ai__operation__name="chat",
        gen_ai__provider__name=provider,
        gen_ai__system=provider,
        gen_ai__request__model=name or provider,
        **attributes,
    )
    return Traced(tracer.start_span(f"chat {name or provider}", kind=SpanKind.CLIENT, attributes=told))


def _is_there(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # not even what is above it
        return False


def _named(**attributes: Value | None) -> dict[str, Any]:
    return {key.replace("__", "."): value for key, value in attributes.items() if value is not None}
