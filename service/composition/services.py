"""The long-lived objects of the service, in the groups in which `build` builds them."""

from dataclasses import dataclass

from infra.database.base import Database
from infra.egress import EgressClient
from infra.storage import FolderStorage, Storage
from service.api.state import State
from service.api.streaming.direct import StreamTimer
from service.clock import Clock
from service.composition.factories import Loop
from service.composition.monitoring import Monitoring
from service.composition.runner_parts import RunnerParts
from service.dispatch.dispatcher import Dispatcher
from service.dispatch.rescuer import Rescuer
from service.dispatch.runners import Runner
from service.exports.forecasts import RunForecasts
from service.exports.removal import Removal
from service.fanout.changes import JobChanges
from service.fanout.hub import Hub
from service.ingest.batch_writer import BatchWriter
from service.ingest.finalizer import Finalizer
from service.ingest.lease_renewal import LeaseRenewal
from service.jobs.serializers import JobSerializer
from service.keys.key_ring import KeyRing
from service.settings import Settings
from service.webhooks.listeners.connections import Listeners
from service.webhooks.outbox import Outbox
from service.webhooks.worker import DeliveryWorker
from service.workers.starter import WorkerStarter


@dataclass(frozen=True)
class Service:
    """Everything that was built; `loops` run until the service stops, by name."""

    state: State
    runner: Runner
    starter: WorkerStarter
    loops: dict[str, Loop]


@dataclass(frozen=True)
class Base:
    """What all other objects are built on; the first of the master keys is the newest."""

    settings: Settings
    hub: Hub
    database: Database
    storage: Storage
    folder_storage: FolderStorage | None
    starter: WorkerStarter
    runner: Runner
    runner_parts: RunnerParts
    monitoring: Monitoring
    clock: Clock
    keys: KeyRing
    stream_timer: StreamTimer
    serializer: JobSerializer
    webhook_serializer: JobSerializer
    master_keys: tuple[bytes, ...]


@dataclass(frozen=True)
class Webhooks:
    """What writes and sends webhooks."""

    egress: EgressClient
    outbox: Outbox
    listeners: Listeners
    worker: DeliveryWorker


@dataclass(frozen=True)
class Jobs:
    """What changes jobs."""

    changes: JobChanges
    writer: BatchWriter
    leases: LeaseRenewal
    finalizer: Finalizer
    rescuer: Rescuer
    dispatcher: Dispatcher
    removal: Removal
    forecasts: RunForecasts
