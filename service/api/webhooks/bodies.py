"""What requests about webhooks may have in their bodies and queries."""

from collections.abc import Sequence
from typing import Annotated, Self

import pydantic

from callbacks.signing import decode_secret
from service.api.export_filters import EndpointFilter
from service.api.requests import NO_NUL_PATTERN, StrictModel
from service.webhooks import endpoints
from service.webhooks.models import EndpointKind, WebhookEvent

MAX_URL = 2_048

Url = Annotated[str, pydantic.Field(min_length=1, max_length=MAX_URL)]
Events = Annotated[list[WebhookEvent], pydantic.Field(min_length=1, max_length=len(WebhookEvent))]
Description = Annotated[str, pydantic.Field(max_length=500, pattern=NO_NUL_PATTERN)]
Cursor = Annotated[str, pydantic.Field(max_length=64, pattern=r"^[!-~]*$")]
Secret = Annotated[str, pydantic.Field(pattern=r"^whsec_[A-Za-z0-9+/]{32,88}={0,2}$")]


class CreateEndpoint(StrictModel):
    """The body of `POST /api/webhooks`; without `events`, all types but progress, and without `filter` all exports.

    A `listener` has no `url`, and may have a `secret` of the caller's choice: `whsec_` and 24 to 64 bytes in base64.
    """

    kind: EndpointKind = EndpointKind.URL
    url: Url | None = None
    events: Events = pydantic.Field(default_factory=lambda: list(endpoints.DEFAULT_EVENTS))
    description: Description = ""
    filter: EndpointFilter | None = None
    ed25519: bool = False
    secret: Secret | None = None

    @pydantic.model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        if self.kind is EndpointKind.URL and self.url is None:
            raise ValueError('give a url, or "kind": "listener"')
        if self.kind is EndpointKind.LISTENER and self.url is not None:
            raise ValueError("a listener has no url")
        if self.kind is EndpointKind.URL and self.secret is not None:
            raise ValueError("only a listener may bring its secret; this service makes those of URLs")
        return self

    @pydantic.field_validator("secret", mode="after")
    @classmethod
    def _is_secret(cls, value: str | None) -> str | None:
        if value is not None:
            decode_secret(value)
        return value


class UpdateEndpoint(StrictModel):
    """The body of `PATCH /api/webhooks/{id}`: only given fields change; `filter` as a whole, and null removes it."""

    url: Url | None = None
    events: Events | None = None
    description: Description | None = None
    filter: EndpointFilter | None = None
    enabled: bool | None = None


class EndpointsQuery(StrictModel):
    """`?job_id=`: the endpoint of one export, instead of the user's own."""

    job_id: Cursor | None = None


def sort_events(events: Sequence[WebhookEvent]) -> list[str]:
    """Return each type once, in the order in which they occur."""
    return [event.value for event in WebhookEvent if event in events]
