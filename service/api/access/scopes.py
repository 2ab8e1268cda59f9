"""Which scope a key needs for a request. The operation of the route says it, so that the document says the same."""

from collections.abc import Set as AbstractSet
from typing import Any, Final

from starlette.requests import HTTPConnection

from service.api.openapi.operations import Operation, Tag, find_operation
from service.keys.scopes import Scope
from service.problems import Forbidden

_READ_METHODS: Final = frozenset({"GET", "HEAD"})
_READ_AND_WRITE: Final = {
    **dict.fromkeys((Tag.EXPORTS, Tag.BATCHES, Tag.STREAMS), (Scope.EXPORTS_READ, Scope.EXPORTS_WRITE)),
    Tag.UPLOADS: (Scope.UPLOADS_READ, Scope.UPLOADS_WRITE),
    **dict.fromkeys((Tag.WEBHOOKS, Tag.DELIVERIES), (Scope.WEBHOOKS_READ, Scope.WEBHOOKS_WRITE)),
}


class MissingScope(Forbidden):
    title = "The API key lacks the scope of this request."
    code = "missing_scope"


class KeyRefused(Forbidden):
    title = "This request takes no API key; send a token of the user."
    code = "key_refused"


def find_scope(operation: Operation, method: str) -> Scope | None:
    """Return the scope that a key needs for an operation: its own, or that of its tag; None if keys are refused."""
    if operation.scope is not None:
        return operation.scope
    if operation.tag not in _READ_AND_WRITE:
        return None
    read, write = _READ_AND_WRITE[operation.tag]
    return read if method.upper() in _READ_METHODS else write


def check_scope(connection: HTTPConnection[Any], scopes: AbstractSet[Scope]) -> None:
    """Raise KeyRefused or MissingScope unless a key with these scopes may do what is asked for."""
    declared = find_operation(connection.scope.get("endpoint"))
    scope = find_scope(declared[0], connection.scope.get("method", "GET")) if declared is not None else None
    if scope is None:
        raise KeyRefused
    require_scope(scopes, scope)


def require_scope(scopes: AbstractSet[Scope], scope: Scope) -> None:
    """Raise MissingScope unless the scopes of a key have this one."""
    if scope not in scopes:
        raise MissingScope(
            f"The API key lacks the scope {scope}; create one that has it with POST /api/keys.",
            headers={"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{scope}"'},
        )
