"""`GET /api/webhooks/{id}/statistics`: how a webhook does."""

from starlette.requests import Request
from starlette.responses import Response

from service.api.openapi.operations import Tag, declare_operation
from service.api.requests import json_response
from service.api.state import State
from service.api.webhooks.endpoints import load_endpoint
from service.webhooks import serializers
from service.webhooks.statistics import read_statistics


@declare_operation("get_webhook_statistics", Tag.WEBHOOKS, answers={200: serializers.WebhookStatistics})
async def get(request: Request[State]) -> Response:
    """Show the success rate and latencies of the webhook's latest attempts, and what waits for it."""
    endpoint = await load_endpoint(request)
    now = request.state["clock"].wall()
    async with request.state["database"].reading() as session:
        statistics = await read_statistics(session, endpoint.endpoint_id, now=now)
    return json_response(serializers.statistics_to_dict(statistics, now=now))
