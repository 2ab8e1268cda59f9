"""All metrics of one application."""

from dataclasses import dataclass, field, fields

from prometheus_client.registry import Collector

from service.metrics.callbacks import CallbackMetrics
from service.metrics.exports import ExportMetrics
from service.metrics.storage import StorageMetrics
from service.metrics.traffic import (
    RequestMetrics,
    RunnerMetrics,
    StreamMetrics,
    UploadMetrics,
    WebhookMetrics,
)


@dataclass(frozen=True)
class ServiceMetrics:
    """The groups, by subject; who counts gets its group. To add a metric, add it to a group or add a group."""

    exports: ExportMetrics = field(default_factory=ExportMetrics)
    callbacks: CallbackMetrics = field(default_factory=CallbackMetrics)
    requests: RequestMetrics = field(default_factory=RequestMetrics)
    streams: StreamMetrics = field(default_factory=StreamMetrics)
    uploads: UploadMetrics = field(default_factory=UploadMetrics)
    webhooks: WebhookMetrics = field(default_factory=WebhookMetrics)
    storage: StorageMetrics = field(default_factory=StorageMetrics)
    runner: RunnerMetrics = field(default_factory=RunnerMetrics)

    def list_groups(self) -> list[Collector]:
        """Return all groups."""
        return [getattr(self, group.name) for group in fields(self)]
