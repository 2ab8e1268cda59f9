"""What the lifespan hands to every route."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypedDict

from infra.egress import Egress
from infra.liveness import Liveness
from infra.postgresql import AnyDatabase
from infra.storage import Storage
from infra.supervise import Supervisor
from service.attempts import Attempts
from service.auth import Authenticator
from service.clock import Clock
from service.hub import Hub
from service.models import Job
from service.openings import Openings
from service.outcomes import Outcomes
from service.prober import Prober
from service.runners import RunnerCheck
from service.stream_slots import StreamSlots
from service.view import JobView
from service.webhooks.deliverer import Deliverer
from service.writer import Writer


@dataclass(frozen=True)
class Quotas:
    """What one user may ask for."""

    queued: int
    upload_bytes: int
    output_bytes: int
    attempts: int
    endpoints: int


class State(TypedDict):
    """The long-lived objects, by name."""

    clock: Clock
    database: AnyDatabase
    storage: Storage
    supervisor: Supervisor
    liveness: Liveness
    attempts: Attempts
    outcomes: Outcomes
    writer: Writer
    authenticator: Authenticator
    hub: Hub
    openings: Openings
    stream_slots: StreamSlots
    publish: Callable[[Job], None]
    egress: Egress
    deliverer: Deliverer
    prober: Prober
    view: JobView
    quotas: Quotas
    runner_name: str
    runner_check: RunnerCheck
    gpu: str | None
    origin: str
    allowed_origins: tuple[str, ...]
    upload_key: bytes
    master_keys: tuple[bytes, ...]
