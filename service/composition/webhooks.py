"""Create what sends webhooks from the settings."""

from functools import partial
from typing import TYPE_CHECKING

from infra.egress import EgressClient, EgressPolicy
from service.composition.services import Base, Webhooks
from service.costs.usage import write_before
from service.fanout.notices import publish_disabled
from service.settings import Settings
from service.tracing.deliveries import TracedSender
from service.webhooks.listeners.connections import Listeners
from service.webhooks.outbox import Outbox
from service.webhooks.scheduling.claims import WorkerConfig
from service.webhooks.send import Sender
from service.webhooks.worker import DeliveryWorker

if TYPE_CHECKING:
    from service.tracing.tracer import Tracing

LEASE_TIMEOUTS = 4
"""The lease of a delivery lasts this many times as long as one attempt may take."""
LISTENER_TIMEOUTS = 4 / 3
"""The outcome of a listener may take this many times as long, for its way to the service."""


def create_webhooks(base: Base, egress: EgressClient, tracing: "Tracing | None") -> Webhooks:
    """Create the outbox, which joins all transactions from now on, and the worker that sends what it writes."""
    outbox = Outbox(base.webhook_serializer, base.clock.wall)
    base.database.before_commit = base.monitoring.recorder.follow(write_before(outbox.write_in_session))
    listeners = Listeners()
    base.hub.on_close(listeners.close)
    timeout_seconds = base.settings.webhook_timeout_seconds
    parts = (egress, listeners, base.database, LISTENER_TIMEOUTS * timeout_seconds)
    worker = DeliveryWorker(
        base.database,
        Sender(*parts) if tracing is None else TracedSender(*parts, tracing),
        outbox,
        partial(publish_disabled, base.hub),
        config=WorkerConfig(lease_seconds=LEASE_TIMEOUTS * timeout_seconds),
        clock=base.clock.wall,
        metrics=base.monitoring.metrics.webhooks,
    )
    return Webhooks(egress, outbox, listeners, worker)


def create_egress_client(settings: Settings) -> EgressClient:
    """Create the client that sends webhooks."""
    policy = EgressPolicy(
        settings.webhook_allowed_networks,
        settings.webhook_allow_http,
        networks_setting="WEBHOOK_ALLOWED_NETWORKS",
        http_setting="WEBHOOK_ALLOW_HTTP",
    )
    return EgressClient(policy, total_seconds=settings.webhook_timeout_seconds)
