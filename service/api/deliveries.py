"""What was sent to an endpoint, and sending it again."""

import time
from typing import Annotated

import pydantic
from starlette.requests import Request
from starlette.responses import Response

from service.api.requests import StrictModel, json_response, parse_query, read_json
from service.api.state import State
from service.api.webhooks import Cursor, load_endpoint, path_id
from service.jobs import transitions
from service.problems import Conflict, NotFound
from service.webhooks import delivery_log, delivery_queries, recovery, serializers
from service.webhooks.models import Delivery, DeliveryState, Endpoint


class RecoverBody(StrictModel):
    """The body of `POST /api/webhooks/{id}/recover`."""

    since: pydantic.AwareDatetime


class ListQuery(StrictModel):
    """`?state=&limit=&cursor=`."""

    state: DeliveryState | None = None
    limit: Annotated[int, pydantic.Field(ge=1, le=100)] = 50
    cursor: Cursor | None = None


class EndpointDisabled(Conflict):
    title = "The endpoint is disabled; enable it first."
    code = "endpoint_disabled"


async def send_test(request: Request[State]) -> Response:
    """Send an event that tells of nothing; its delivery tells what came back."""
    endpoint = await _load_enabled_endpoint(request)
    async with request.state["database"].transaction() as session:
        made = await recovery.create_test_delivery(session, endpoint, now=time.time())
    return _accepted_response(request, made, {})


async def list_(request: Request[State]) -> Response:
    """What was sent to the endpoint, newest first, with every attempt."""
    endpoint = await load_endpoint(request)
    query = parse_query(request, ListQuery)
    async with request.state["database"].reading() as session:
        found = await delivery_queries.list_page(
            session, endpoint.endpoint_id, state=query.state, before=query.cursor, limit=query.limit + 1
        )
        page, more = found[: query.limit], len(found) > query.limit
        attempts = await delivery_log.load_attempts(session, page)
    shown = [serializers.delivery_to_dict(one, attempts) for one in page]
    return json_response({"deliveries": shown, "next_cursor": page[-1].delivery_id if more else None})


async def get(request: Request[State]) -> Response:
    """One delivery: what was sent, and all that was kept of the answers."""
    endpoint = await load_endpoint(request)
    found = await _load_delivery(request, endpoint)
    async with request.state["database"].reading() as session:
        attempts = await delivery_log.load_attempts(session, [found])
    return json_response(serializers.delivery_to_dict(found, attempts, whole=True))


async def redeliver(request: Request[State]) -> Response:
    """Send it again, at once, with the same `webhook-id`."""
    endpoint = await _load_enabled_endpoint(request)
    found = await _load_delivery(request, endpoint)
    async with request.state["database"].transaction() as session:
        again = await recovery.redeliver(session, found, now=time.time())
        attempts = await delivery_log.load_attempts(session, [found])
    return _accepted_response(request, again or await _load_delivery(request, endpoint), attempts)


async def recover(request: Request[State]) -> Response:
    """Send what the endpoint missed: the outcome of every export that ended since, unless it has taken it."""
    endpoint = await _load_enabled_endpoint(request)
    asked, _ = await read_json(request, RecoverBody)
    made, after = 0, ""
    while True:
        async with request.state["database"].transaction() as session:
            await transitions.lock_user(
                session, endpoint.user_id
            )  # two that recover at once send nothing twice
            few, on = await recovery.recover_missed(
                session,
                endpoint,
                request.state["serializer"],
                since=asked.since.timestamp(),
                after=after,
                now=time.time(),
            )
        made += few
        request.state["delivery_worker"].wake()
        if on is None:
            return json_response({"recovered": made}, 202)
        after = on


async def _load_enabled_endpoint(request: Request[State]) -> Endpoint:
    endpoint = await load_endpoint(request)
    if not endpoint.enabled:
        raise EndpointDisabled
    return endpoint


async def _load_delivery(request: Request[State], endpoint: Endpoint) -> Delivery:
    async with request.state["database"].reading() as session:
        found = await delivery_queries.get(session, endpoint.endpoint_id, path_id(request, "delivery_id"))
    if found is None:
        raise NotFound("The delivery does not exist.")
    return found


def _accepted_response(
    request: Request[State], made: Delivery, attempts: delivery_log.AttemptRows
) -> Response:
    request.state["delivery_worker"].wake()
    return json_response(serializers.delivery_to_dict(made, attempts), 202)
