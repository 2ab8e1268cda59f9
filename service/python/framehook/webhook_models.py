"""Endpoints, deliveries and events of webhooks."""

from datetime import datetime

import msgspec


class EndpointFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Of which exports an endpoint gets events: all conditions hold; of several states or types one is enough."""

    status: tuple[str, ...] = ()
    type: tuple[str, ...] = ()
    project_id: str | None = None
    metadata: dict[str, str] = {}
    created_after: datetime | None = None
    created_before: datetime | None = None
    batch_id: str | None = None


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A consumer's URL, or a `listener` without one; `secret` is set only when it has just been created."""

    id: str
    kind: str = "url"
    url: str | None = None
    description: str = ""
    events: tuple[str, ...] = ()
    filter: EndpointFilter | None = None
    format: str = "standard"
    header_names: tuple[str, ...] = ()
    rate_limit: float | None = None
    job_id: str | None = None
    enabled: bool = True
    disabled_reason: str | None = None
    disabled_at: datetime | None = None
    failing_since: datetime | None = None
    previous_secret_until: datetime | None = None
    public_key: str | None = None
    listened_at: datetime | None = None
    created_at: datetime
    secret: str | None = None


class EndpointStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """How an endpoint does: its latest 1,000 attempts since `since`, a day ago, and what waits for it."""

    since: datetime
    attempts: int
    delivered: int
    success_rate: float | None = None
    latency_p50_seconds: float | None = None
    latency_p99_seconds: float | None = None
    backlog: int
    oldest_waiting_at: datetime | None = None
    oldest_waiting_seconds: float | None = None


class AttemptError(msgspec.Struct, frozen=True):
    """Why an attempt failed."""

    code: str
    message: str


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One request to an endpoint, and its response or error."""

    attempt: int
    at: datetime
    seconds: float | None = None
    status: int | None = None
    error: AttemptError | None = None
    excerpt: str | None = None


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One event for one endpoint; `payload` is the body, in the answer to `delivery` alone."""

    delivery_id: str
    endpoint_id: str = ""
    type: str
    job_id: str | None = None
    sequence: int | None = None
    fault: str | None = None
    state: str
    created_at: datetime
    ended_at: datetime | None = None
    next_attempt_at: datetime | None = None
    attempts: tuple[Attempt, ...] = ()
    payload: str | None = None


class ListenerReady(msgspec.Struct, frozen=True):
    """A listener is connected; an outcome that takes longer than this counts as a time-out."""

    endpoint_id: str
    timeout_seconds: float


class ListenerDelivery(msgspec.Struct, frozen=True):
    """A delivery that a listener got: the headers and the body that an endpoint's URL would get.

    The `fault` of a test event may ask to send it twice (`duplicate`) or slowly (`slow`).
    """

    delivery_id: str
    attempt: int
    headers: dict[str, str]
    body: str
    fault: str | None = None


class Endpoints(msgspec.Struct, frozen=True):
    """All of a user's endpoints, oldest first."""

    webhooks: tuple[Endpoint, ...]


class DeliveriesPage(msgspec.Struct, frozen=True):
    """One page of deliveries, newest first."""

    deliveries: tuple[Delivery, ...]
    next_cursor: str | None = None


class RecoveryResult(msgspec.Struct, frozen=True):
    """How many deliveries were created."""

    recovered: int


class PublicKeys(msgspec.Struct, frozen=True):
    """The ed25519 keys of an endpoint as `whpk_…`, the newest first."""

    public_keys: tuple[str, ...]


class PortalLink(msgspec.Struct, frozen=True):
    """A link to a page on which the user's webhooks are managed, and when it expires."""

    url: str
    expires_at: datetime


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a received message is valid; `detail` says in sentences what is wrong, `problems` in codes."""

    valid: bool
    detail: str
    problem: str | None = None
    problems: tuple[str, ...] = ()
    header: str | None = None
    clock_off_seconds: int | None = None
    id: str = ""
