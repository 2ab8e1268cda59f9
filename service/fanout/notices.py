"""Notices to a user that are no state of an export."""

import msgspec

from service.fanout.hub import Hub, NoticeType, Publication
from service.webhooks import serializers
from service.webhooks.models import Endpoint


def publish_disabled(hub: Hub, endpoint: Endpoint) -> None:
    """Tell the owner of an endpoint, on the stream of all exports, that it was disabled."""
    body = msgspec.json.encode(serializers.endpoint_to_dict(endpoint))
    sequence = round((endpoint.disabled_at or 0) * 1000)
    hub.publish(
        Publication(endpoint.endpoint_id, endpoint.user_id, sequence, NoticeType.WEBHOOK_DISABLED, body)
    )
