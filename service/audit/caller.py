"""Who the work that is being done is for: set once a request is authenticated, and by commands."""

from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Actor(StrEnum):
    """How a caller was authenticated."""

    TOKEN = "token"  # noqa: S105 - the name of a credential
    KEY = "key"
    PORTAL = "portal"
    """Has a link to the portal of the user."""
    LOCAL_USER = "local_user"
    OPERATOR = "operator"
    """Has the settings of the service, at the command line."""


@dataclass(frozen=True)
class Caller:
    """Who acts: with a token, with the API key or portal link `key_id`, or at the command line.

    `address` is that of the connection; None unless addresses are kept.
    """

    actor: Actor
    key_id: str | None = None
    address: str | None = None


CALLER: Final[ContextVar[Caller | None]] = ContextVar("caller", default=None)
"""None in the loops of the service: what it does by itself is in its log and the timelines."""
