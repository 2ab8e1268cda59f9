"""Make spans and send them to a collector, by OpenTelemetry; its own `OTEL_…` variables hold as well."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from typing import Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

NAME: Final = "framehook"
EXPORT_SECONDS: Final = 5.0
"""How long a collector may take, all tries together; the end of the service waits as long for the last spans."""
NANOSECONDS: Final = 1_000_000_000
_PROPAGATOR: Final = TraceContextTextMapPropagator()

Attributes = Mapping[str, str | int | float]


class TracedSpan:
    """A span that is open, and its `traceparent` for those who continue the trace."""

    def __init__(self, span: Span) -> None:
        self._span = span

    @property
    def traceparent(self) -> str:
        """The span as a W3C header."""
        context = self._span.get_span_context()
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"

    def rename(self, name: str) -> None:
        """Give the span the name that was not known when it began."""
        self._span.update_name(name)

    def set(self, attributes: Attributes) -> None:
        """Add attributes."""
        self._span.set_attributes(attributes)

    def fail(self, reason: str) -> None:
        """Mark the span as failed."""
        self._span.set_status(Status(StatusCode.ERROR, reason))

    def end(self, at: float | None = None) -> None:
        """End the span at a time in seconds since 1970, by default now."""
        self._span.end(None if at is None else _to_nanoseconds(at))


class Tracing:
    """Spans of this process, which belong to no global state of OpenTelemetry."""

    def __init__(self, exporter: SpanExporter, close_seconds: float = EXPORT_SECONDS) -> None:
        """Send spans in batches, from a thread; what a collector does not take is dropped.

        `close_seconds` is how long the last spans may take, in however many batches.
        """
        self._close_seconds = close_seconds
        resource = Resource({"service.name": NAME, "service.version": version(NAME)})
        resource = resource.merge(OTELResourceDetector().detect())
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer(NAME, version(NAME))

    def start(
        self,
        name: str,
        parent: str | None,
        attributes: Attributes,
        *,
        kind: str = "internal",
        at: float | None = None,
    ) -> TracedSpan:
        """Start a span, at a time in seconds since 1970 or now; `parent` is a `traceparent`."""
        carrier = {"traceparent": parent} if parent else {}
        context = _PROPAGATOR.extract(carrier, context=Context())
        start_time = None if at is None else _to_nanoseconds(at)
        span = self._tracer.start_span(
            name, context, SpanKind[kind.upper()], attributes=attributes, start_time=start_time
        )
        return TracedSpan(span)

    @contextmanager
    def span(
        self, name: str, parent: str | None, attributes: Attributes, *, kind: str = "internal"
    ) -> Iterator[TracedSpan]:
        """Keep a span open for a block; an error fails it."""
        span = self.start(name, parent, attributes, kind=kind)
        try:
            yield span
        except Exception as error:
            span.fail(type(error).__name__)
            raise
        finally:
            span.end()

    def close(self) -> None:
        """Send what is left; blocks for some seconds at most."""
        closing = threading.Thread(target=self._provider.shutdown, name="last spans", daemon=True)
        closing.start()
        closing.join(self._close_seconds)  # the library itself waits for half a minute


def create_exporter(endpoint: str) -> SpanExporter:
    """Return an exporter to the collector whose OTLP/HTTP receiver has this URL."""
    return OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_SECONDS)


def _to_nanoseconds(seconds: float) -> int:
    return int(seconds * NANOSECONDS)
