"""HTTP client for untrusted URLs: checked addresses only, bounded in time and bytes."""

from infra.egress.client import TOTAL_SECONDS, EgressClient
from infra.egress.resolver import HostLookup, look_up_host
from infra.egress.results import BlockedURL, EgressPolicy, EgressResponse, Unreachable

__all__ = [
    "TOTAL_SECONDS",
    "BlockedURL",
    "EgressClient",
    "EgressPolicy",
    "EgressResponse",
    "HostLookup",
    "Unreachable",
    "look_up_host",
]
