"""Check the URL of an endpoint before it is stored."""

from infra.egress import BlockedURL, EgressClient, Unreachable
from service.problems import FieldError, Invalid


async def check_url(egress: EgressClient, url: str, field: str) -> None:
    """Raise Invalid, which names the request's field, if webhooks may not or can't be sent to the URL."""
    try:
        await egress.check(url)
    except (BlockedURL, Unreachable) as error:
        reason = error.reason if isinstance(error, BlockedURL) else error.message
        raise Invalid(f"{field}: {reason}", errors=[FieldError(loc=[field], msg=reason)]) from None
