"""Settings of what users may send, and of what is remembered of it."""

from typing import Annotated, ClassVar

from pydantic import Field

from service.settings.types import SettingsGroup

Requests = Annotated[int, Field(ge=0, le=1_000_000)]


class AccessSettings(SettingsGroup):
    """How many requests a user may send in a minute."""

    heading: ClassVar = "Requests of users"

    rate_limit_reads: Requests = 6_000
    """requests of one user that read, in a minute and for each replica; 0 is no limit. These three
    [limits](api.md#rate-limits) count with authentication alone"""
    rate_limit_writes: Requests = 3_000
    """the same for requests that change something"""
    rate_limit_webhook_sends: Requests = 120
    """the same for test events, redeliveries and recoveries of webhooks, each of which sends at once"""
