"""Routes for the deliveries of a webhook: list, show, test, redeliver, recover."""

from typing import Annotated, TypedDict

import pydantic
from starlette.requests import Request
from starlette.responses import Response

from gpu.export_types.registry import ExportTypeName
from service.api.openapi.operations import Body, Tag, declare_operation
from service.api.request_ids import Moment
from service.api.requests import StrictModel, json_response, parse_query, read_json, read_optional_json
from service.api.state import State
from service.api.webhooks.bodies import Cursor
from service.api.webhooks.endpoints import load_endpoint, path_id, record_action
from service.audit.actions import Action
from service.audit.log import record
from service.jobs import transitions
from service.problems import Conflict, Erased, FieldError, Invalid, NotFound
from service.webhooks import delivery_log, delivery_queries, recovery, serializers
from service.webhooks.models import Delivery, DeliveryState, Endpoint, WebhookEvent
from service.webhooks.rehearsal.events import NothingEarlier, Rehearsal, create_test_deliveries
from service.webhooks.rehearsal.faults import Fault
from service.webhooks.rehearsal.samples import DEFAULT_EXPORT_TYPE


class SendTest(StrictModel):
    """The body of `POST /api/webhooks/{id}/test`, which may be left out; without `type`, `webhook.test` is sent.

    `export_type` is the type of the export in the sample.
    """

    type: WebhookEvent | None = None
    fault: Fault | None = None
    export_type: ExportTypeName = DEFAULT_EXPORT_TYPE


class RecoverBody(StrictModel):
    """The body of `POST /api/webhooks/{id}/recover`."""

    since: Moment


class ListQuery(StrictModel):
    """`?state=&limit=&cursor=`."""

    state: DeliveryState | None = None
    limit: Annotated[int, pydantic.Field(ge=1, le=100)] = 50
    cursor: Cursor | None = None


class DeliveryPage(TypedDict):
    """One page of deliveries, newest first; `next_cursor` is the `cursor` of the next page, null on the last."""

    deliveries: list[serializers.WebhookDelivery]
    next_cursor: str | None


class Recovery(TypedDict):
    """The number of events that are sent again."""

    recovered: int


class EndpointDisabled(Conflict):
    title = "The endpoint is disabled; enable it first."
    code = "endpoint_disabled"


@declare_operation(
    "send_test_event",
    Tag.DELIVERIES,
    body=Body(SendTest, required=False),
    answers={202: serializers.WebhookDelivery},
    problems=(EndpointDisabled,),
)
async def send_test(request: Request[State]) -> Response:
    """Send a test event, or a sample of a real one; its delivery shows the result.

    It is sent once, also to an endpoint that does not have this event. `fault` rehearses a bad day; for `reorder` the
    answer is the delivery of the earlier event, which is sent last.
    """
    endpoint = await _load_enabled_endpoint(request)
    body = await read_optional_json(request, SendTest)
    rehearsal = Rehearsal(body.type, body.fault, body.export_type)
    serializer, now = request.state["webhook_serializer"], request.state["clock"].wall()
    try:
        async with request.state["database"].transaction() as session:
            delivery = await create_test_deliveries(session, endpoint, rehearsal, serializer, now=now)
            await record_action(request, session, Action.WEBHOOK_TESTED, endpoint)
    except NothingEarlier:
        reason = "No event comes before this one; send another type to rehearse a wrong order."
        raise Invalid(reason, errors=[FieldError(loc=["type"], msg=reason)]) from None
    return _accept(request, delivery, {})


@declare_operation("list_deliveries", Tag.DELIVERIES, query=ListQuery, answers={200: DeliveryPage})
async def list_(request: Request[State]) -> Response:
    """List the deliveries of the webhook with their attempts, newest first."""
    endpoint = await load_endpoint(request)
    query = parse_query(request, ListQuery)
    async with request.state["database"].reading() as session:
        rows = await delivery_queries.list_page(
            session, endpoint.endpoint_id, state=query.state, before=query.cursor, limit=query.limit + 1
        )
        page, has_more = rows[: query.limit], len(rows) > query.limit
        attempts = await delivery_log.load_attempts(session, page)
    items = [serializers.delivery_to_dict(delivery, attempts) for delivery in page]
    return json_response(
        DeliveryPage(deliveries=items, next_cursor=page[-1].delivery_id if has_more else None)
    )


@declare_operation("get_delivery", Tag.DELIVERIES, answers={200: serializers.WholeDelivery})
async def get(request: Request[State]) -> Response:
    """Show one delivery with its payload and the stored responses."""
    endpoint = await load_endpoint(request)
    delivery = await load_delivery(request, endpoint)
    async with request.state["database"].reading() as session:
        attempts = await delivery_log.load_attempts(session, [delivery])
    return json_response(serializers.delivery_to_whole_dict(delivery, endpoint, attempts))


@declare_operation(
    "redeliver",
    Tag.DELIVERIES,
    answers={202: serializers.WebhookDelivery},
    problems=(EndpointDisabled, Erased),
)
async def redeliver(request: Request[State]) -> Response:
    """Send the delivery again at once, with the same `webhook-id`."""
    endpoint = await _load_enabled_endpoint(request)
    delivery = await load_delivery(request, endpoint)
    if not delivery.payload:
        raise Erased("The export was erased, and with it the message.")
    async with request.state["database"].transaction() as session:
        now = request.state["clock"].wall()
        requeued = await recovery.redeliver(session, delivery, now=now)
        if requeued is not None:
            await record(session, Action.DELIVERY_RESENT, endpoint.user_id, [delivery.delivery_id], now=now)
        attempts = await delivery_log.load_attempts(session, [delivery])
    return _accept(request, requeued or await load_delivery(request, endpoint), attempts)


@declare_operation(
    "recover_events",
    Tag.DELIVERIES,
    body=Body(RecoverBody),
    answers={202: Recovery},
    problems=(EndpointDisabled,),
)
async def recover(request: Request[State]) -> Response:
    """Send the final events and notices since a time that the webhook has not received."""
    endpoint = await _load_enabled_endpoint(request)
    body, _ = await read_json(request, RecoverBody)
    recovered, position = 0, recovery.START
    while True:
        async with request.state["database"].transaction() as session:
            # Two recoveries at the same time must not send an event twice.
            await transitions.lock_user(session, endpoint.user_id)
            if position == recovery.START:
                await record_action(request, session, Action.EVENTS_RESENT, endpoint)
            count, next_position = await recovery.recover_missed(
                session,
                endpoint,
                request.state["webhook_serializer"],
                since=body.since.timestamp(),
                position=position,
                now=request.state["clock"].wall(),
            )
        recovered += count
        request.state["delivery_worker"].wake()
        if next_position is None:
            return json_response(Recovery(recovered=recovered), 202)
        position = next_position


async def _load_enabled_endpoint(request: Request[State]) -> Endpoint:
    endpoint = await load_endpoint(request)
    if not endpoint.enabled:
        raise EndpointDisabled
    return endpoint


async def load_delivery(request: Request[State], endpoint: Endpoint) -> Delivery:
    """Load the delivery in the path, of this webhook; raises NotFound."""
    async with request.state["database"].reading() as session:
        delivery = await delivery_queries.get(session, endpoint.endpoint_id, path_id(request, "delivery_id"))
    if delivery is None:
        raise NotFound("The delivery does not exist.")
    return delivery


def _accept(request: Request[State], delivery: Delivery, attempts: delivery_log.AttemptRows) -> Response:
    """Wake the delivery worker and respond with the delivery."""
    request.state["delivery_worker"].wake()
    return json_response(serializers.delivery_to_dict(delivery, attempts), 202)
