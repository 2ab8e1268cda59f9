"""The body of a delivery in the format of its endpoint; pure.

Deliveries are stored in the standard format and rendered when they are sent. The result depends on nothing else, so
that a retry and a redelivery have the same bytes.
"""

from typing import Final

import msgspec

from service.webhooks.messages.cloudevents import CONTENT_TYPE as CLOUDEVENTS_TYPE
from service.webhooks.messages.cloudevents import to_cloudevent
from service.webhooks.messages.slack import to_slack_message
from service.webhooks.models import Delivery, Endpoint, EndpointFormat

_JSON: Final = "application/json"


def render_body(endpoint: Endpoint, delivery: Delivery) -> bytes:
    """Return the body that is sent; empty if it was erased."""
    if endpoint.format is EndpointFormat.STANDARD or not delivery.payload:
        return delivery.payload.encode()
    event = msgspec.json.decode(delivery.payload)
    if endpoint.format is EndpointFormat.SLACK:
        return to_slack_message(event)
    return to_cloudevent(event, delivery.delivery_id, delivery.traceparent)


def select_content_type(endpoint: Endpoint) -> str:
    """Return the `content-type` of what is sent to the endpoint."""
    return CLOUDEVENTS_TYPE if endpoint.format is EndpointFormat.CLOUDEVENTS else _JSON
