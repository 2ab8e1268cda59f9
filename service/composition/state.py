"""Build what the routes work with."""

from functools import partial

from infra.liveness import Liveness
from infra.supervise import Supervisor
from service.api.metrics import Scraper
from service.api.monitoring.system import create_operation
from service.api.origins.policy import OriginPolicy
from service.api.pages.console import create_console_files
from service.api.state import FixedState, State
from service.composition.exports import create_exports
from service.composition.factories import create_authenticator, create_request_limits, derive_key
from service.composition.machine_checks import run_checks
from service.composition.monitoring import create_scraper
from service.composition.services import Base, Jobs, Webhooks
from service.fanout.initial_states import InitialStatesReader
from service.fanout.stream_slots import StreamSlots


def build_state(
    base: Base, webhooks: Webhooks, jobs: Jobs, supervisor: Supervisor, liveness: Liveness
) -> State:
    """Return the state of the application."""
    settings, storage, newest_key = base.settings, base.storage, base.master_keys[0]
    origins = OriginPolicy.of(settings)
    batches, estimator = create_exports(base, webhooks, jobs)
    return State(
        **_build_fixed_state(base),
        clock=base.clock,
        database=base.database,
        storage=storage,
        folder_storage=base.folder_storage,
        supervisor=supervisor,
        liveness=liveness,
        dispatcher=jobs.dispatcher,
        rescuer=jobs.rescuer,
        finalizer=jobs.finalizer,
        writer=jobs.writer,
        authenticator=create_authenticator(settings, newest_key, origins, base.keys, base.clock),
        hub=base.hub,
        initial_states=InitialStatesReader(base.database, base.serializer, base.clock.wall),
        stream_timer=base.stream_timer,
        stream_slots=StreamSlots(settings.max_streams_per_user, settings.max_streams),
        changes=jobs.changes,
        exports=estimator.exports,
        estimator=estimator,
        batches=batches,
        removal=jobs.removal,
        egress=webhooks.egress,
        delivery_worker=webhooks.worker,
        listeners=webhooks.listeners,
        source_prober=estimator.prober,
        serializer=base.serializer,
        webhook_serializer=base.webhook_serializer,
        runner_readiness=base.runner_parts.readiness,
        origins=origins,
        metrics=base.monitoring.metrics,
        scraper=_build_scraper(base, supervisor),
    )


def _build_scraper(base: Base, supervisor: Supervisor) -> Scraper:
    parts = (base.settings, base.monitoring, base.database, base.hub)
    return create_scraper(*parts, supervisor, base.runner_parts.readiness, base.clock)


def _build_fixed_state(base: Base) -> FixedState:
    settings, newest_key = base.settings, base.master_keys[0]
    return FixedState(
        limits=create_request_limits(settings),
        runner_name=base.runner.name,
        usd_per_second=base.runner_parts.budgets.usd_per_second,
        operation=create_operation(settings, base.database, base.clock, partial(run_checks, settings)),
        console_files=create_console_files(settings),
        upload_key=derive_key(newest_key, "uploads"),
        master_keys=base.master_keys,
        keys=base.keys,
    )
