"""Create the use cases of exports from the settings; `service.composition` connects them."""

from infra.database.base import Database
from infra.egress import EgressClient
from infra.storage import Storage
from service.clock import Clock
from service.dispatch.runners import Runner
from service.exports.erasure import SETTLED_SECONDS, Eraser, Listeners
from service.exports.expiry import Expiry
from service.exports.forecasts import RunForecasts
from service.exports.intake import Intake
from service.exports.models import ExportLimits
from service.exports.removal import Removal
from service.exports.uploads import UploadLimits, UploadService
from service.fanout.changes import JobChanges
from service.forecast.forecaster import Forecaster
from service.forecast.work import name_runner
from service.ingest.output_check import SourceProber
from service.jobs.serializers import JobSerializer
from service.settings import Settings


def create_intake(
    settings: Settings,
    storage: Storage,
    egress: EgressClient,
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
    return Intake(storage, egress, forecasts, limits, clock.wall)


def create_forecasts(
    database: Database, storage: Storage, prober: SourceProber, runner: Runner, clock: Clock
) -> RunForecasts:
    """Create what forecasts the runs of the runner."""
    forecaster = Forecaster(database, clock)
    return RunForecasts(database, storage, prober, forecaster, name_runner(runner.name, runner.gpu))


def create_eraser(
    settings: Settings,
    database: Database,
    storage: Storage,
    runner: Runner,
    listeners: Listeners,
    clock: Clock,
) -> Eraser:
    """Create what purges exports.

    It waits for outputs that are being moved for twice the length of their leases.
    """
    settled_seconds = max(SETTLED_SECONDS, 2 * settings.finalize_lease_seconds)
    return Eraser(database, storage, runner, listeners, clock=clock, settled_seconds=settled_seconds)


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
    limits = UploadLimits(settings.max_bytes_per_user, settings.upload_days * 86_400)
    return Removal(
        eraser,
        UploadService(database, storage, eraser, limits, clock),
        Expiry(database, eraser, serializer, changes.publish, clock),
    )
