"""What requests about webhooks may have in their bodies and queries."""

from collections.abc import Sequence
from typing import Annotated, Self

import pydantic

from callbacks.signing import decode_secret
from service.api.export_filters import EndpointFilter
from service.api.requests import NO_NUL_PATTERN, StrictModel
from service.webhooks import endpoints
from service.webhooks.messages.custom_headers import MAX_HEADERS, check_names, merge_headers
from service.webhooks.models import EndpointFormat, EndpointKind, WebhookEvent

MAX_URL = 2_048

Url = Annotated[str, pydantic.Field(min_length=1, max_length=MAX_URL)]
Events = Annotated[list[WebhookEvent], pydantic.Field(min_length=1, max_length=len(WebhookEvent))]
Description = Annotated[str, pydantic.Field(max_length=500, pattern=NO_NUL_PATTERN)]
Cursor = Annotated[str, pydantic.Field(max_length=64, pattern=r"^[!-~]*$")]
Secret = Annotated[str, pydantic.Field(pattern=r"^whsec_[A-Za-z0-9+/]{32,88}={0,2}$")]

HeaderName = Annotated[str, pydantic.Field(max_length=64, pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")]
HeaderValue = Annotated[str, pydantic.Field(min_length=1, max_length=4_096, pattern=r"^[!-~]([ -~]*[!-~])?$")]
NewHeaders = Annotated[dict[HeaderName, HeaderValue], pydantic.Field(max_length=MAX_HEADERS)]
HeaderChanges = Annotated[dict[HeaderName, HeaderValue | None], pydantic.Field(max_length=2 * MAX_HEADERS)]
RateLimit = Annotated[float, pydantic.Field(ge=0.01, le=100, allow_inf_nan=False)]


class CreateEndpoint(StrictModel):
    """The body of `POST /api/webhooks`; without `events`, all types but progress, and without `filter` all exports.

    `headers` go with each request, but those that the service or the connection sets: `webhook-*`, `content-*`, `host`
    and the like. `rate_limit` is in deliveries per second.

    A `listener` has no `url` and no `headers`, and may have a `secret` of the caller's choice: `whsec_` and 24 to 64
    bytes in base64.
    """

    kind: EndpointKind = EndpointKind.URL
    url: Url | None = None
    events: Events = pydantic.Field(default_factory=lambda: list(endpoints.DEFAULT_EVENTS))
    description: Description = ""
    filter: EndpointFilter | None = None
    format: EndpointFormat = EndpointFormat.STANDARD
    headers: NewHeaders = pydantic.Field(default_factory=dict)
    rate_limit: RateLimit | None = None
    ed25519: bool = False
    secret: Secret | None = None

    @pydantic.model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        if self.kind is EndpointKind.URL and self.url is None:
            raise ValueError('give a url, or "kind": "listener"')
        if self.kind is EndpointKind.LISTENER and self.url is not None:
            raise ValueError("a listener has no url")
        if self.kind is EndpointKind.LISTENER and self.headers:
            raise ValueError("a listener has no headers; they go with requests to a url")
        if self.kind is EndpointKind.URL and self.secret is not None:
            raise ValueError("only a listener may bring its secret; this service makes those of URLs")
        return self

    @pydantic.field_validator("headers", mode="after")
    @classmethod
    def _has_allowed_headers(cls, value: dict[str, str]) -> dict[str, str]:
        check_names(value)
        return merge_headers({}, value)

    @pydantic.field_validator("secret", mode="after")
    @classmethod
    def _is_secret(cls, value: str | None) -> str | None:
        if value is not None:
            decode_secret(value)
        return value


class UpdateEndpoint(StrictModel):
    """The body of `PATCH /api/webhooks/{id}`: only given fields change.

    `filter` changes as a whole; null removes it, and `rate_limit`. Each header that is given is set, or removed if it
    is null, and the others stay; null in place of `headers` removes all.
    """

    url: Url | None = None
    events: Events | None = None
    description: Description | None = None
    filter: EndpointFilter | None = None
    format: EndpointFormat | None = None
    headers: HeaderChanges | None = None
    rate_limit: RateLimit | None = None
    enabled: bool | None = None

    @pydantic.field_validator("headers", mode="after")
    @classmethod
    def _has_allowed_headers(cls, value: dict[str, str | None] | None) -> dict[str, str | None] | None:
        check_names(value or ())
        return value


class EndpointsQuery(StrictModel):
    """`?job_id=`: the endpoint of one export, instead of the user's own."""

    job_id: Cursor | None = None


def sort_events(events: Sequence[WebhookEvent]) -> list[str]:
    """Return each type once, in the order in which they occur."""
    return [event.value for event in WebhookEvent if event in events]
