"""Spans for OpenTelemetry, by OTLP over HTTP. Only imported where they are wanted.

Sampling, batching and headers are the library's, and so are the variables that set them
(`OTEL_TRACES_SAMPLER`, `OTEL_BSP_…`, `OTEL_EXPORTER_OTLP_HEADERS`).
"""

from datetime import datetime

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from tunesmith.tracing.spans import Value

_PROPAGATOR = TraceContextTextMapPropagator()


class Otlp:
    def __init__(self, endpoint: str, service: str) -> None:
        exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
        self._provider = TracerProvider(resource=Resource.create({"service.name": service}))
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("tunesmith")

    def begin(
        self, name: str, parent: str | None, at: datetime | None, *, is_request: bool
    ) -> "OtlpSpan":
        context = _PROPAGATOR.extract({"traceparent": parent} if parent else {})
        kind = trace.SpanKind.SERVER if is_request else trace.SpanKind.INTERNAL
        begun = self._tracer.start_span(name, context, kind=kind, start_time=_nanoseconds(at))
        return OtlpSpan(begun)

    def close(self) -> None:
        self._provider.shutdown()


class OtlpSpan:
    def __init__(self, span: trace.Span) -> None:
        self._span = span

    @property
    def traceparent(self) -> str | None:
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier, trace.set_span_in_context(self._span))
        return carrier.get("traceparent")

    def name(self, name: str) -> None:
        self._span.update_name(name)

    def add(self, **attributes: Value) -> None:
        self._span.set_attributes(
            {name.replace("__", "."): value for name, value in attributes.items()}
        )

    def end(self, at: datetime | None = None) -> None:
        self._span.end(_nanoseconds(at))


def _nanoseconds(at: datetime | None) -> int | None:
    return None if at is None else int(at.timestamp() * 1_000_000) * 1_000
