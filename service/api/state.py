"""What the lifespan hands to every route."""

from dataclasses import dataclass
from typing import TypedDict

from infra.postgresql import AnyDatabase
from infra.storage import Storage
from infra.supervise import Supervisor
from service.attempts import Attempts
from service.auth import Authenticator
from service.hub import Hub
from service.outcomes import Outcomes
from service.runners import RunnerCheck
from service.view import JobView
from service.writer import Writer


@dataclass(frozen=True)
class Quotas:
    """What one user may ask for."""

    queued: int
    upload_bytes: int
    attempts: int


class State(TypedDict):
    """The long-lived objects, by name."""

    database: AnyDatabase
    storage: Storage
    supervisor: Supervisor
    attempts: Attempts
    outcomes: Outcomes
    writer: Writer
    authenticator: Authenticator
    hub: Hub
    view: JobView
    quotas: Quotas
    runner_name: str
    runner_check: RunnerCheck
    gpu: str | None
    origin: str
    allowed_origins: tuple[str, ...]
    upload_key: bytes
    master_keys: tuple[bytes, ...]
