"""Metrics of requests, streams, uploads, webhooks, and calls to the runner."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from starlette.types import Scope

from service.metrics.groups import (
    REQUEST_SECONDS,
    SHARED,
    LabelLimit,
    LightHistogram,
    MetricGroup,
    create_counter,
    create_gauge,
    create_histogram,
)

DELAY_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0)
ANSWER_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
UNKNOWN_ROUTE = "unknown"
EVICTED = "evicted"
REJECTIONS = (
    *("head_too_large", "request_timeout", "malformed_request", "too_many_connections"),
    *("origin_not_allowed", EVICTED),
)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class RequestMetrics(MetricGroup):
    """Requests to this process by the pattern of their path; callbacks have metrics of their own."""

    def __init__(self) -> None:
        self.requests = create_counter(
            "http_requests",
            "Requests answered, by pattern of the path, method and class of the status",
            *("route", "method", "class"),
        )
        self.seconds = create_histogram(
            "http_request_duration_seconds",
            "Time to the end of an answer, streams left out",
            "route",
            bounds=REQUEST_SECONDS,
        )
        self.rejected = create_counter(
            "http_rejected",
            "Requests and connections that were turned away before a route, by code of the problem; `evicted` are "
            "idle connections that were closed to make room",
            "reason",
        )
        for reason in REJECTIONS:
            self.rejected.labels(reason)
        self._routes: dict[Any, str] = {}

    def count(self, scope: Scope, status: int, seconds: float, *, is_stream: bool) -> None:
        """Count a request that was answered."""
        route, method = self._find_route(scope), scope.get("method", "GET")
        method = method if method in _METHODS else "other"
        self.requests.labels(route, method, f"{status // 100}xx" if status else "none").inc()
        if not is_stream:
            self.seconds.labels(route).observe(seconds)

    def _find_route(self, scope: Scope) -> str:
        """Return the pattern of the path; a label never has the path itself, which has ids."""
        if not self._routes:
            for route in reversed(scope["app"].routes):
                self._routes[route.endpoint] = route.path
        return self._routes.get(scope.get("endpoint"), UNKNOWN_ROUTE)


class StreamMetrics(MetricGroup):
    """Open streams of this process, and why they ended early."""

    def __init__(self) -> None:
        self.open = create_gauge("streams_open", "Streams open now", "transport")
        self.ended = create_counter(
            "streams_ended", "Streams that the service ended before the end of their export", "reason"
        )
        for transport in ("http", "websocket"):
            self.open.labels(transport)


class UploadMetrics(MetricGroup):
    """Uploads that began at this process, and what it has received itself; a bucket receives files directly."""

    def __init__(self) -> None:
        self.created = create_counter("uploads_created", "Uploads announced")
        self.created_bytes = create_counter("uploads_created_bytes", "Size of the uploads announced")
        self.received_bytes = create_counter(
            "uploads_received_bytes", "Bytes of files and parts that the service itself has stored"
        )

    def count_created(self, size: int) -> None:
        """Count an announced upload of so many bytes."""
        self.created.inc()
        self.created_bytes.inc(size)


class WebhookMetrics(MetricGroup):
    """Webhook attempts of this process."""

    def __init__(self) -> None:
        self.attempts = create_counter(
            "webhook_attempts", "Webhook attempts recorded, `delivered` or by error code", "result"
        )
        self.superseded = create_counter("webhooks_superseded", "Deliveries dropped for newer ones")
        self.in_flight = create_gauge("webhook_attempts_in_flight", "Attempts that are being made now")
        self.delay = LightHistogram(
            "webhook_delay_seconds",
            "From an event's commit to its delivery, where the first attempt succeeded",
            bounds=DELAY_SECONDS,
        )
        self.seconds = LightHistogram(
            "webhook_attempt_duration_seconds", "Time that an attempt took", bounds=ANSWER_SECONDS
        )
        self.attempts.labels("delivered")


class Sign(StrEnum):
    """What makes a run look stuck."""

    SILENT = "silent"
    NO_PROGRESS = "no_progress"


class RunnerMetrics(MetricGroup):
    """Calls of this process to its runner."""

    def __init__(self) -> None:
        self.calls = create_counter(
            "runner_calls",
            "Calls to the runner, by `ok` or the code of its refusal, and for `probe` the state that it found",
            *("runner", "call", "result"),
        )
        self.seconds = create_histogram(
            "runner_call_duration_seconds",
            "Time that a call to the runner took",
            *("runner", "call"),
            bounds=ANSWER_SECONDS,
        )
        self.stuck = create_gauge(
            "database_stuck_runs",
            "Runs that report nothing for SILENCE_SECONDS, or make no progress for half of STALLED_SECONDS, "
            f"as each replica observes them{SHARED}",
            "sign",
        )
        self._results = LabelLimit()
        self.show_stuck({})

    def show_stuck(self, counts: Mapping[Sign, int]) -> None:
        """Show how many runs look stuck, by what makes them look like it."""
        for sign in Sign:
            self.stuck.labels(sign.value).set(counts.get(sign, 0))

    def count(self, runner: str, call: str, result: str, seconds: float) -> None:
        """Count a call that was answered."""
        self.calls.labels(runner, call, self._results.limit(result)).inc()
        self.seconds.labels(runner, call).observe(seconds)
