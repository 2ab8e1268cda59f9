"""Settings of webhooks: where they may go, and how many there may be."""

from typing import Annotated, ClassVar

from pydantic import Field

from infra.egress import TOTAL_SECONDS
from service.settings.types import Networks, Origins, SettingsGroup


class WebhookSettings(SettingsGroup):
    """Where webhooks may go, and how many there may be."""

    heading: ClassVar = "Webhooks"

    webhook_timeout_seconds: Annotated[float, Field(gt=0, le=60)] = TOTAL_SECONDS
    """time for a receiver's whole answer"""
    webhook_allowed_networks: Networks = ()
    """networks besides the public internet, comma-separated: `10.1.0.0/16`"""
    webhook_allow_http: bool = False
    """`true` allows URLs without TLS"""
    max_webhooks_per_user: Annotated[int, Field(ge=1)] = 50
    """endpoints of one user, those of single exports not counted"""
    portal_frame_ancestors: Origins = ()
    """origins whose pages may embed the [portal](webhooks.md#a-portal-for-your-customers) in a frame, comma-separated;
    `*` allows all"""
