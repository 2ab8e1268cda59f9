"""Routes of fixed paths where a parameter of a later route would match, too."""

from starlette.routing import Match, Route
from starlette.types import Scope


class FixedRoute(Route):
    """The only route of a path: it answers other methods with 405, and leaves none to a later route.

    `DELETE /api/exports/active` would otherwise cancel an export with the id `active`.
    """

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, child_scope = super().matches(scope)
        return Match.NONE if match is Match.NONE else Match.FULL, child_scope
