"""How many requests a user may send: a token bucket for each user and class of routes, in the memory of this process.

Streams are never limited, since a browser's `EventSource` does not come back after 429; nor is what has no user.
"""

import math
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Final

from starlette.requests import HTTPConnection

from service.api.openapi.operations import find_operation
from service.problems import Problem

HEADERS: Final = "framehook.rate_limit"
"""Key in a scope: the headers that tell the client of its limit."""
WINDOW_SECONDS: Final = 60
MAX_BUCKETS: Final = 10_000
SENDING_OPERATIONS: Final = frozenset({"send_test_event", "redeliver", "recover_events"})
_ROUNDING_SECONDS: Final = 1e-6
_READ_METHODS: Final = frozenset({"GET", "HEAD"})


class RouteClass(StrEnum):
    """The routes that share a limit: those that read, those that change, and those that send webhooks at once."""

    READS = "reads"
    WRITES = "writes"
    WEBHOOK_SENDS = "webhook-sends"


class RateLimited(Problem):
    title = "You send too many requests."
    status = 429
    code = "rate_limited"


class RateLimits:
    """The buckets of all users, and how many requests of each class fit in one.

    A bucket fills up evenly within a minute. It is stored as the moment at which it will be full (GCRA); one that is
    full needs no entry.
    """

    def __init__(self, quotas: Mapping[RouteClass, int], monotonic: Callable[[], float]) -> None:
        """Limit each class to its quota; 0 is no limit."""
        self._quotas = quotas
        self._monotonic = monotonic
        self._full_at: dict[tuple[RouteClass, str], float] = {}
        self._forget_at = MAX_BUCKETS

    def take(self, route_class: RouteClass, user_id: str) -> dict[str, str]:
        """Count a request and return the headers of its response; raises RateLimited."""
        quota = self._quotas[route_class]
        if not quota:
            return {}
        now, seconds = self._monotonic(), WINDOW_SECONDS / quota
        full_at = max(now, self._full_at.get((route_class, user_id), now)) + seconds
        wait = full_at - WINDOW_SECONDS - now
        if wait > _ROUNDING_SECONDS:
            headers = _describe(route_class, quota, remaining=0, wait=wait)
            raise RateLimited(
                f"You may send {quota} requests of the class {route_class} in a minute; "
                f"send this one again in {headers['Retry-After']} s.",
                headers=headers,
            )
        if len(self._full_at) >= self._forget_at:
            self._forget_full(now)
        self._full_at[route_class, user_id] = full_at
        left = (WINDOW_SECONDS - (full_at - now)) / seconds
        remaining = math.floor(left + _ROUNDING_SECONDS)
        headers = _describe(route_class, quota, remaining, wait=(remaining + 1 - left) * seconds)
        del headers["Retry-After"]
        return headers

    def _forget_full(self, now: float) -> None:
        """Forget the buckets that are full; the next time when there are twice as many as are left."""
        self._full_at = {key: at for key, at in self._full_at.items() if at > now}
        self._forget_at = max(MAX_BUCKETS, 2 * len(self._full_at))


def limit_request(limits: RateLimits, connection: HTTPConnection[Any], user_id: str) -> None:
    """Count a request of a user once, and leave the headers for its response in the scope; raises RateLimited."""
    if HEADERS not in connection.scope:
        connection.scope[HEADERS] = limits.take(find_class(connection), user_id)


def find_class(connection: HTTPConnection[Any]) -> RouteClass:
    """Return the class of the route of a request."""
    declared = find_operation(connection.scope.get("endpoint"))
    if declared is not None and declared[0].id in SENDING_OPERATIONS:
        return RouteClass.WEBHOOK_SENDS
    return RouteClass.READS if connection.scope.get("method") in _READ_METHODS else RouteClass.WRITES


def _describe(route_class: RouteClass, quota: int, remaining: int, wait: float) -> dict[str, str]:
    """Return the headers of draft-ietf-httpapi-ratelimit-headers-11; `t` is when the next request is possible."""
    seconds = str(max(1, math.ceil(wait - _ROUNDING_SECONDS)))
    return {
        "RateLimit-Policy": f'"{route_class}";q={quota};w={WINDOW_SECONDS}',
        "RateLimit": f'"{route_class}";r={remaining};t={seconds}',
        "Retry-After": seconds,
    }
