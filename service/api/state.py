"""The long-lived objects that every route finds in `request.state`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from infra.database.base import Database
from infra.egress import EgressClient
from infra.liveness import Liveness
from infra.storage import FolderStorage, Storage
from infra.supervise import Supervisor
from service.api.auth import Authenticator
from service.api.origins.policy import OriginPolicy
from service.api.streaming.direct import StreamTimer
from service.batches.service import BatchService
from service.clock import Clock
from service.dispatch.dispatcher import Dispatcher
from service.dispatch.rescuer import Rescuer
from service.dispatch.runners import RunnerReadiness
from service.estimates.estimate import Estimator
from service.exports.removal import Removal
from service.exports.service import ExportService
from service.fanout.changes import JobChanges
from service.fanout.hub import Hub
from service.fanout.initial_states import InitialStatesReader
from service.fanout.stream_slots import StreamSlots
from service.ingest.batch_writer import BatchWriter
from service.ingest.finalizer import Finalizer
from service.ingest.prober import Prober
from service.jobs.serializers import JobSerializer
from service.jobs.statistics import DayCache
from service.keys.key_ring import KeyRing
from service.metrics.service_metrics import ServiceMetrics
from service.sample_file import SampleFile
from service.startup.findings import Finding
from service.webhooks.listeners.connections import Listeners
from service.webhooks.worker import DeliveryWorker

if TYPE_CHECKING:
    from service.api.metrics import Scraper  # it needs the state itself


@dataclass(frozen=True)
class Limits:
    """Limits of a single request or user."""

    upload_bytes: int
    output_bytes: int
    endpoints: int


@dataclass(frozen=True)
class Operation:
    """What operators see, and their user ids; None lets every user see it."""

    version: str
    operators: tuple[str, ...] | None
    settings: dict[str, str]
    days: DayCache
    checks: Callable[[], list[Finding]]
    """What can be checked at any time: settings, disk, limits."""


@dataclass(frozen=True)
class ConsoleFiles:
    """The policies that console and portal are sent with, and the sample video."""

    content_policy: str
    portal_policy: str
    sample: SampleFile


class FixedState(TypedDict):
    """What the settings say, and what depends on no other object, by name.

    `usd_per_second` is the price of a GPU second: 0 on this machine, None if it is unknown.
    """

    limits: Limits
    runner_name: str
    usd_per_second: float | None
    operation: Operation
    console_files: ConsoleFiles
    upload_key: bytes
    master_keys: tuple[bytes, ...]
    keys: KeyRing


class State(FixedState):
    """The objects, by name.

    `serializer` shows jobs to clients. `folder_storage` is `storage` if this service itself serves its objects.
    """

    clock: Clock
    database: Database
    storage: Storage
    folder_storage: FolderStorage | None
    supervisor: Supervisor
    liveness: Liveness
    dispatcher: Dispatcher
    rescuer: Rescuer
    finalizer: Finalizer
    writer: BatchWriter
    authenticator: Authenticator
    hub: Hub
    changes: JobChanges
    initial_states: InitialStatesReader
    stream_timer: StreamTimer
    stream_slots: StreamSlots
    exports: ExportService
    estimator: Estimator
    batches: BatchService
    removal: Removal
    egress: EgressClient
    delivery_worker: DeliveryWorker
    listeners: Listeners
    source_prober: Prober
    serializer: JobSerializer
    webhook_serializer: JobSerializer
    runner_readiness: RunnerReadiness
    origins: OriginPolicy
    metrics: ServiceMetrics
    scraper: "Scraper"
