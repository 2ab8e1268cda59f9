"""Create the use cases of exports from the settings; `build` connects them."""

from infra.database.base import Database
from infra.egress import EgressClient
from infra.storage import Storage
from service.batches.bulk import BulkChanges
from service.batches.purge import BatchEraser
from service.batches.service import BatchService
from service.clock import DAY_SECONDS, Clock
from service.composition.services import Base, Jobs, Webhooks
from service.costs.control import Budgets
from service.dispatch.runners import Runner
from service.estimates.estimate import Estimator
from service.exports.erasure import SETTLED_SECONDS, Eraser, ErasureObservers
from service.exports.expiry import Expiry
from service.exports.forecasts import RunForecasts
from service.exports.intake import Intake
from service.exports.models import ExportLimits
from service.exports.removal import Removal
from service.exports.service import ExportService
from service.exports.uploads import UploadLimits, UploadService
from service.fanout.changes import JobChanges
from service.ingest.prober import MAX_WAITING, Prober
from service.jobs.serializers import JobSerializer
from service.settings import Settings
from service.workers.starter import WorkerStarter


def create_intake(
    settings: Settings,
    storage: Storage,
    egress: EgressClient,
    budgets: Budgets,
    forecasts: RunForecasts,
    *,
    runner: Runner,
    clock: Clock,
) -> Intake:
    """Create what takes requests for exports, with the limits of the settings."""
    limits = ExportLimits(
        runner=runner.name,
        max_queued=settings.max_queued_per_user,
        attempt_limit=settings.attempt_limit,
        max_bytes=settings.max_bytes_per_user,
        head_start_seconds=settings.priority_seconds,
        max_schedule_days=settings.max_schedule_days,
        output_days=settings.output_days,
    )
    return Intake(storage, egress, budgets, forecasts, limits, clock.wall)


def create_estimator(
    exports: ExportService,
    storage: Storage,
    forecasts: RunForecasts,
    *,
    starter: WorkerStarter,
    runner: Runner,
    usd_per_second: float | None,
) -> Estimator:
    """Create what estimates exports; `usd_per_second` is the price of the GPU, None if it is unknown."""
    return Estimator(
        exports=exports,
        storage=storage,
        prober=Prober(starter, max_waiting=MAX_WAITING),
        forecasts=forecasts,
        usd_per_second=usd_per_second,
        has_remote_chunks=not runner.shares_filesystem,
    )


def create_batch_service(
    database: Database, intake: Intake, changes: JobChanges, eraser: Eraser
) -> BatchService:
    """Create the use cases of many exports; its `bulk` has those of single ones."""
    exports = ExportService(
        database, intake, changes, intake.budgets, limits=intake.limits, clock=intake.clock
    )
    bulk = BulkChanges(database, exports, changes, intake.clock)
    batch_eraser = BatchEraser(database, eraser, intake.clock)
    return BatchService(database, intake, changes, bulk, batch_eraser, intake.clock)


def create_exports(base: Base, webhooks: Webhooks, jobs: Jobs) -> tuple[BatchService, Estimator]:
    """Create the use cases of exports, of single ones and of many, and what estimates them."""
    settings, storage, runner = base.settings, base.storage, base.runner
    budgets = base.runner_parts.budgets
    parts = (settings, storage, webhooks.egress, budgets, jobs.forecasts)
    intake = create_intake(*parts, runner=runner, clock=base.clock)
    batches = create_batch_service(base.database, intake, jobs.changes, jobs.removal.eraser)
    known = (batches.bulk.exports, storage, jobs.forecasts)
    price = budgets.usd_per_second
    return batches, create_estimator(*known, starter=base.starter, runner=runner, usd_per_second=price)


def create_eraser(
    settings: Settings,
    database: Database,
    storage: Storage,
    runner: Runner,
    observers: ErasureObservers,
    clock: Clock,
) -> Eraser:
    """Create what purges exports.

    It waits for outputs that are being moved for twice the length of their leases.
    """
    settled_seconds = max(SETTLED_SECONDS, 2 * settings.finalize_lease_seconds)
    return Eraser(database, storage, runner, observers, clock=clock, settled_seconds=settled_seconds)


def create_removal(
    settings: Settings,
    database: Database,
    storage: Storage,
    eraser: Eraser,
    changes: JobChanges,
    serializer: JobSerializer,
    clock: Clock,
) -> Removal:
    """Create what deletes, with the limits of the settings; `serializer` shows jobs to webhooks."""
    limits = UploadLimits(settings.max_bytes_per_user, settings.upload_days * DAY_SECONDS)
    return Removal(
        eraser,
        UploadService(database, storage, eraser, limits, clock),
        Expiry(database, eraser, serializer, changes.publish, clock),
    )
