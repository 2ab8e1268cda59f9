"""Settings of what users may send, and of what is remembered of it."""

from typing import Annotated, ClassVar

from pydantic import Field

from service.settings.types import SettingsGroup

Requests = Annotated[int, Field(ge=0, le=1_000_000)]


class AccessSettings(SettingsGroup):
    """How many requests a user may send in a minute, and how long it is known who did what."""

    heading: ClassVar = "Requests and audit log"

    rate_limit_reads: Requests = 6_000
    """requests of one user that read, in a minute and for each replica; 0 is no limit. These three
    [limits](api.md#rate-limits) count with authentication alone"""
    rate_limit_writes: Requests = 3_000
    """the same for requests that change something"""
    rate_limit_webhook_sends: Requests = 120
    """the same for test events, redeliveries and recoveries of webhooks, each of which sends at once"""
    audit_days: Annotated[float, Field(gt=0, le=36_600)] = 365.0
    """how long the [audit log](security.md#audit-log) keeps who did what"""
    audit_addresses: bool = False
    """`true` keeps the addresses of connections in it; behind a proxy they are the proxy's"""
