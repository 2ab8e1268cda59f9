"""Build what operators see of the service: its metrics, and the log of its exports."""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from gpu.export_types.registry import get_export_types
from infra.database.base import Database
from infra.database.postgresql import is_postgresql
from infra.storage import FolderStorage, Storage
from infra.supervise import Supervisor
from service.api.metrics import Scraper, describe_runner, describe_streams
from service.clock import Clock
from service.composition.factories import USERS_IN_LOGS, create_storage, derive_key
from service.dispatch.runners import Runner, RunnerReadiness
from service.dispatch.runners.measured import MeasuredRunner
from service.fanout.hub import Hub
from service.metrics.database_figures import DatabaseFigures
from service.metrics.process import BuildCollector, LoopCollector, ValueCollector, create_registry
from service.metrics.recorder import ExportRecorder
from service.metrics.service_metrics import ServiceMetrics
from service.metrics.storage import StorageMetrics, measure_storage
from service.settings import Settings
from service.startup.logging_setup import show_users
from service.tracing.exports import record_export
from service.tracing.runs import trace_spawn
from service.webhooks.scheduling.due_query import read_backlog

if TYPE_CHECKING:
    from service.tracing.tracer import Tracing


@dataclass(frozen=True)
class Monitoring:
    """The metrics, the runner whose calls are counted, and what records the changes of exports."""

    metrics: ServiceMetrics
    runner: Runner
    recorder: ExportRecorder


def create_monitoring(
    settings: Settings, database: Database, runner: Runner, master_key: bytes, tracing: "Tracing | None"
) -> Monitoring:
    """Create the metrics, and let the log show users as the settings say."""
    show_users(settings.log_users, derive_key(master_key, USERS_IN_LOGS))
    metrics = ServiceMetrics()
    metrics.exports.prepare(get_export_types().names, runner.name)
    if tracing is None:
        recorder = ExportRecorder(database, metrics.exports)
        return Monitoring(metrics, MeasuredRunner(runner, metrics.runner), recorder)
    recorder = ExportRecorder(database, metrics.exports, partial(record_export, tracing))
    return Monitoring(
        metrics, MeasuredRunner(runner, metrics.runner, partial(trace_spawn, tracing)), recorder
    )


def create_measured_storage(
    settings: Settings, master_key: bytes, metrics: StorageMetrics
) -> tuple[Storage, FolderStorage | None]:
    """Create the storage whose failing calls are counted; the second is the same if files are in a folder."""
    storage = create_storage(settings, master_key)
    folder = measure_storage(storage, metrics) if isinstance(storage, FolderStorage) else None
    return measure_storage(storage, metrics), folder


def create_scraper(
    settings: Settings,
    monitoring: Monitoring,
    database: Database,
    hub: Hub,
    supervisor: Supervisor,
    readiness: RunnerReadiness,
    clock: Clock,
) -> Scraper:
    """Create what answers scrapes. A metric whose value another object knows is a `ValueCollector` here."""
    runner = monitoring.runner.name
    kinds = [(name, runner) for name in get_export_types().names]
    figures = DatabaseFigures(database, clock, read_backlog, kinds)
    dialect = "postgresql" if is_postgresql(database.url) else "sqlite"
    registry = create_registry(
        [
            *monitoring.metrics.list_groups(),
            ValueCollector(partial(describe_streams, hub)),
            ValueCollector(partial(describe_runner, readiness)),
            LoopCollector(supervisor),
            BuildCollector(runner, dialect),
            figures,
        ]
    )
    token = settings.metrics_token.get_secret_value() if settings.metrics_token else None
    return Scraper(
        registry, figures, monitoring.recorder, settings.metrics_port, token, not settings.authenticated
    )
