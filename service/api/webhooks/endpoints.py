"""Outbound webhooks: endpoints and their secrets."""

from typing import TypedDict

from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import Response

from service.api.export_filters import EndpointFilter
from service.api.openapi.operations import Answer, Body, Tag, declare_operation
from service.api.requests import json_response, parse_query, read_json
from service.api.state import State
from service.api.webhooks.bodies import CreateEndpoint, EndpointsQuery, UpdateEndpoint, sort_events
from service.audit.actions import Action
from service.audit.log import record
from service.jobs import transitions
from service.jobs.filters import encode_filter
from service.problems import Conflict, FieldError, Invalid, NotFound
from service.webhooks import endpoint_status, endpoints, serializers
from service.webhooks.messages.custom_headers import decode_headers, encode_headers, merge_headers
from service.webhooks.models import DisabledReason, Endpoint, EndpointKind
from service.webhooks.signing import active_public_keys


class WebhookList(TypedDict):
    """Webhooks, oldest first."""

    webhooks: list[serializers.Webhook]


class PublicKeys(TypedDict):
    """The ed25519 keys of a webhook as `whpk_…`, the newest first; `public_key` is the first."""

    public_key: str
    public_keys: list[str]


class WebhookNotFound(NotFound):
    title = "The webhook does not exist."


@declare_operation(
    "create_webhook",
    Tag.WEBHOOKS,
    body=Body(CreateEndpoint),
    answers={
        201: Answer(
            "The webhook.", serializers.WebhookWithSecret, headers={"Location": "The path of the webhook."}
        )
    },
    problems=(Conflict,),
)
async def create(request: Request[State]) -> Response:
    """Create a webhook; only this response shows its secret."""
    user_id = await request.state["authenticator"].webhook_user(request)
    body, _ = await read_json(request, CreateEndpoint)
    if body.url is not None:
        await endpoints.check_url(request.state["egress"], body.url, "url")
    limit = request.state["limits"].endpoints
    async with request.state["database"].transaction() as session:
        await transitions.lock_user(session, user_id)
        if await endpoints.count(session, user_id) >= limit:
            raise Conflict(f"You have {limit} webhooks, which is the maximum; delete one first.")
        values = endpoints.new_values(
            user_id,
            body.url or "",
            events=sort_events(body.events),
            description=body.description,
            export_filter=_encode_filter(body.filter),
            ed25519=body.ed25519,
            kind=body.kind,
            secret=body.secret,
            options={
                "format": body.format.value,
                "custom_headers": encode_headers(body.headers),
                "rate_limit": body.rate_limit,
            },
            now=request.state["clock"].wall(),
        )
        endpoint = await endpoints.create(session, values)
        await record_action(request, session, Action.WEBHOOK_CREATED, endpoint)
    return json_response(
        serializers.endpoint_to_dict_with_secret(endpoint, clock=request.state["clock"].wall),
        201,
        {"Location": f"/api/webhooks/{endpoint.endpoint_id}"},
    )


def _to_dict(request: Request[State], endpoint: Endpoint) -> serializers.Webhook:
    return serializers.endpoint_to_dict(endpoint, clock=request.state["clock"].wall)


@declare_operation("list_webhooks", Tag.WEBHOOKS, query=EndpointsQuery, answers={200: WebhookList})
async def list_(request: Request[State]) -> Response:
    """List the user's webhooks, oldest first, or those of one export."""
    user_id = await request.state["authenticator"].webhook_user(request)
    query = parse_query(request, EndpointsQuery)
    async with request.state["database"].reading() as session:
        if query.job_id is None:
            rows = await endpoints.list_by_user(session, user_id)
        else:
            rows = await endpoints.list_by_job(session, user_id, query.job_id)
    return json_response(WebhookList(webhooks=[_to_dict(request, endpoint) for endpoint in rows]))


@declare_operation("get_webhook", Tag.WEBHOOKS, answers={200: serializers.Webhook})
async def get(request: Request[State]) -> Response:
    """Show the webhook."""
    return json_response(_to_dict(request, await load_endpoint(request)))


@declare_operation(
    "update_webhook", Tag.WEBHOOKS, body=Body(UpdateEndpoint), answers={200: serializers.Webhook}
)
async def update(request: Request[State]) -> Response:
    """Change the given fields; enable or disable the webhook."""
    endpoint = await load_endpoint(request)
    body, _ = await read_json(request, UpdateEndpoint)
    _check_kind(endpoint, body)
    if body.url is not None and body.url != endpoint.url:
        await endpoints.check_url(request.state["egress"], body.url, "url")
    user_id, endpoint_id = endpoint.user_id, endpoint.endpoint_id
    async with request.state["database"].transaction() as session:
        updated = await endpoints.lock(session, endpoint)
        if updated is not None and (values := _to_columns(body, updated)):
            updated = await endpoints.update_fields(session, user_id, endpoint_id, values)
        if body.enabled:
            updated = await endpoint_status.enable(session, user_id, endpoint_id)
        elif body.enabled is False:
            await endpoint_status.disable(
                session, endpoint_id, DisabledReason.BY_USER, now=request.state["clock"].wall()
            )
            updated = await endpoints.get(session, user_id, endpoint_id)
        if updated is not None:
            await record_action(request, session, Action.WEBHOOK_CHANGED, updated)
    if updated is None:
        raise WebhookNotFound
    request.state["delivery_worker"].wake()
    return json_response(_to_dict(request, updated))


def _check_kind(endpoint: Endpoint, body: UpdateEndpoint) -> None:
    """Raise Invalid for fields that a listener cannot have."""
    if endpoint.kind is EndpointKind.LISTENER:
        for field in ("url", "headers"):
            if getattr(body, field):
                raise _invalid_field(field, "A listener has no URL; create another webhook for a URL.")


def _invalid_field(field: str, reason: str) -> Invalid:
    return Invalid(reason, errors=[FieldError(loc=[field], msg=reason)])


def _to_columns(body: UpdateEndpoint, endpoint: Endpoint) -> dict[str, object]:
    """Return the columns of the given fields but `enabled`; raises Invalid."""
    columns: dict[str, object] = body.model_dump(exclude_none=True, include={"url", "description"})
    if body.events is not None:
        columns["events"] = ",".join(sort_events(body.events))
    if "filter" in body.model_fields_set:
        columns["export_filter"] = _encode_filter(body.filter)
    if body.format is not None:
        columns["format"] = body.format.value
    if "rate_limit" in body.model_fields_set:
        columns["rate_limit"] = body.rate_limit
    if "headers" in body.model_fields_set:
        columns["custom_headers"] = _change_headers(endpoint, body)
    return columns


def _change_headers(endpoint: Endpoint, body: UpdateEndpoint) -> str | None:
    if body.headers is None:
        return None
    try:
        merged = merge_headers(decode_headers(endpoint.custom_headers), body.headers)
    except ValueError as error:
        raise _invalid_field("headers", f"{error}.".capitalize()) from None
    return encode_headers(merged)


def _encode_filter(endpoint_filter: EndpointFilter | None) -> str | None:
    return None if endpoint_filter is None else encode_filter(endpoint_filter.to_filter())


@declare_operation("delete_webhook", Tag.WEBHOOKS, answers={204: Answer("The webhook is deleted.")})
async def delete(request: Request[State]) -> Response:
    """Delete the webhook and its deliveries."""
    endpoint = await load_endpoint(request)
    async with request.state["database"].transaction() as session:
        await endpoints.remove(session, endpoint.user_id, endpoint.endpoint_id)
        await record_action(request, session, Action.WEBHOOK_DELETED, endpoint)
    more = True
    while more:
        async with request.state["database"].transaction() as session:
            more = await endpoints.delete_deliveries(session, endpoint.endpoint_id)
    request.state["listeners"].close_endpoint(endpoint.endpoint_id)
    return Response(status_code=204)


@declare_operation(
    "rotate_webhook_secret", Tag.WEBHOOKS, answers={200: serializers.WebhookWithSecret}, problems=(Conflict,)
)
async def rotate_secret(request: Request[State]) -> Response:
    """Replace the secret, which only this response shows; the old one signs for another day."""
    endpoint = await load_endpoint(request)
    async with request.state["database"].transaction() as session:
        rotated = await endpoints.rotate_secret(session, endpoint, now=request.state["clock"].wall())
        if rotated is not None:
            await record_action(request, session, Action.SECRET_ROTATED, rotated)
    if rotated is None:
        raise Conflict(
            "Another request has just rotated the secret. Read the webhook again before you retry."
        )
    return json_response(serializers.endpoint_to_dict_with_secret(rotated, clock=request.state["clock"].wall))


@declare_operation("get_public_keys", Tag.WEBHOOKS, answers={200: PublicKeys})
async def public_key(request: Request[State]) -> Response:
    """Return the ed25519 keys that verify `v1a` signatures, newest first."""
    endpoint = await load_endpoint(request)
    keys = active_public_keys(endpoint, now=request.state["clock"].wall())
    if not keys:
        raise NotFound("The webhook has no public key: it was created without `ed25519: true`.")
    return json_response(PublicKeys(public_key=keys[0], public_keys=keys))


async def record_action(
    request: Request[State], session: AsyncSession, action: Action, endpoint: Endpoint
) -> None:
    """Add an entry about an endpoint to the audit log."""
    now = request.state["clock"].wall()
    await record(session, action, endpoint.user_id, [endpoint.endpoint_id], now=now)


async def load_endpoint(request: Request[State], *, takes_portal: bool = True) -> Endpoint:
    """Load the user's endpoint in the path; raises WebhookNotFound."""
    authenticator = request.state["authenticator"]
    user_id = await (authenticator.webhook_user if takes_portal else authenticator.user)(request)
    async with request.state["database"].reading() as session:
        endpoint = await endpoints.get(session, user_id, path_id(request, "id"))
    if endpoint is None:
        raise WebhookNotFound
    return endpoint


def path_id(request: Request[State], name: str) -> str:
    """Return an id of the path; raises WebhookNotFound for text that cannot be an id."""
    value = str(request.path_params[name])
    if len(value) > 64 or not value.isascii() or not value.isprintable():  # noqa: PLR2004
        raise WebhookNotFound
    return value
