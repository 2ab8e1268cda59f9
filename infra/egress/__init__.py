"""The HTTP client for outbound webhooks: it connects only to checked addresses, and is bounded in time and bytes."""

from infra.egress.client import TOTAL_SECONDS, Egress
from infra.egress.resolver import Resolver, system_resolver
from infra.egress.results import Answer, Forbidden, Rules, Unreachable

__all__ = [
    "TOTAL_SECONDS",
    "Answer",
    "Egress",
    "Forbidden",
    "Resolver",
    "Rules",
    "Unreachable",
    "system_resolver",
]
