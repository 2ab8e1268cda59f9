"""Authentication: turn a bearer token, an API key, a cookie, a stream ticket or a portal link into a user id."""

import time
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, Final

import jwt
from starlette.requests import HTTPConnection

from infra.database.errors import DATABASE_ERRORS
from infra.telemetry import USER
from service.api.access.rate_limits import RateLimits, limit_request
from service.api.access.scopes import check_scope
from service.api.access.tokens import Verifier, decode_token
from service.api.origins.policy import OriginPolicy
from service.audit.caller import CALLER, Actor, Caller
from service.keys.key_format import PREFIX, is_key
from service.keys.key_ring import ActiveKey, KeyRing
from service.problems import Unauthenticated, Unavailable

LOCAL_USER = "local"
COOKIE_NAME = "framehook_token"
MAX_TICKET_SECONDS: Final = 3_600
PORTAL_PREFIX: Final = "portal_"
"""Begins a token of the portal, so that it is never taken for one of the identity provider."""
MAX_EXPIRY: Final = 253_402_300_799
"""The last second of the year 9999: a token may contain any number."""
MAX_USER_ID_CHARACTERS = 200
_HOW_TO = "Send `Authorization: Bearer <token>` with a valid token."


@dataclass(frozen=True)
class Access:
    """The user of a connection.

    `expires_at` is in seconds since the epoch, None if access does not expire. `key` is the API key, if it is one;
    `link_id` is the link of a portal.
    """

    user_id: str
    expires_at: int | None = None
    key: ActiveKey | None = None
    link_id: str | None = None

    @property
    def is_revoked(self) -> bool:
        """Tell whether the key was revoked since."""
        return self.key is not None and self.key.is_revoked

    def seconds_left(self, now: float) -> float:
        """Return how long the access still lasts."""
        return float("inf") if self.expires_at is None else self.expires_at - now


class Authenticator:
    """Finds the user of each request; without a verifier there is one local user.

    Browsers add a cookie to requests of any page, and reach a service without authentication from any page: what such
    a request changes, only pages of trusted origins may.
    """

    def __init__(
        self,
        verifier: Verifier | None,
        ticket_key: bytes,
        origins: OriginPolicy | None = None,
        keys: KeyRing | None = None,
        limits: RateLimits | None = None,
        *,
        keeps_addresses: bool = False,
    ) -> None:
        self._verifier = verifier
        self._keys = keys
        self._limits = limits
        self._keeps_addresses = keeps_addresses
        self._ticket_key = ticket_key
        self._origins = origins or OriginPolicy()

    @property
    def asks_for_tokens(self) -> bool:
        """Whether requests need a token; without one there is a single local user."""
        return self._verifier is not None

    async def user(self, connection: HTTPConnection[Any]) -> str:
        """Return the user of a request; raises as `access` does."""
        return (await self.access(connection)).user_id

    async def access(self, connection: HTTPConnection[Any]) -> Access:
        """Return the user of a request and when the token expires.

        Raises Unauthenticated, ForeignOrigin, RateLimited, or for a key KeyRefused or MissingScope.
        """
        return self._admit_limited(connection, await self._find_access(connection))

    async def webhook_user(self, connection: HTTPConnection[Any]) -> str:
        """Return the user of a request about webhooks, which a token of the portal may make as well."""
        token = _bearer_token(connection) or ""
        if self._verifier is None or not token.startswith(PORTAL_PREFIX):
            return await self.user(connection)
        return self._admit_limited(connection, await self._verify_portal_token(token)).user_id

    def _admit_limited(self, connection: HTTPConnection[Any], access: Access) -> Access:
        self._admit(connection, access)
        if self._limits is not None and self._verifier is not None:
            limit_request(self._limits, connection, access.user_id)
        return access

    def _admit(self, connection: HTTPConnection[Any], access: Access) -> Access:
        if access.key is not None:
            check_scope(connection, access.key.scopes)
        connection.scope[USER] = access.user_id
        CALLER.set(self._describe_caller(connection, access))
        return access

    def _describe_caller(self, connection: HTTPConnection[Any], access: Access) -> Caller:
        """Return what the audit log keeps of who sent a request."""
        address = connection.client.host if self._keeps_addresses and connection.client else None
        if access.link_id is not None:
            return Caller(Actor.PORTAL, access.link_id, address)
        if access.key is not None:
            return Caller(Actor.KEY, access.key.key_id, address)
        return Caller(Actor.LOCAL_USER if self._verifier is None else Actor.TOKEN, None, address)

    async def _find_access(self, connection: HTTPConnection[Any]) -> Access:
        if self._verifier is None:
            if connection.scope["type"] == "http":  # sockets are checked before their handshake
                self._origins.check_credentials(connection)
            return Access(LOCAL_USER)
        token = _bearer_token(connection)
        if token is None:
            token = connection.cookies.get(COOKIE_NAME, "")
            if token:
                self._origins.check_credentials(connection)
        return await self._verify_token(token)

    async def stream_access(self, connection: HTTPConnection[Any], *, takes_tickets: bool = True) -> Access:
        """Return the user of a stream, from a ticket if there is one; raises as `access`.

        A stream ends in the second in which its token expires: the leeway is for single requests only.
        """
        ticket = connection.query_params.get("ticket") if takes_tickets else None
        if ticket is None or self._verifier is None:
            access = self._admit(connection, await self._find_access(connection))
        else:
            access = self._admit(connection, await self._verify_ticket(ticket))
        if access.seconds_left(time.time()) <= 0:
            raise _invalid_token(f"The token has expired. {_HOW_TO}")
        return access

    def create_ticket(
        self, access: Access, *, seconds: int = MAX_TICKET_SECONDS, now: float
    ) -> tuple[str, int]:
        """Return a ticket for the user's streams, usable many times, and its expiry."""
        expires_at = int(now) + min(seconds, MAX_TICKET_SECONDS)
        if access.expires_at is not None:
            expires_at = min(expires_at, access.expires_at)
        if expires_at <= now:
            raise _invalid_token(f"The token has expired. {_HOW_TO}")
        return self._sign(access, expires_at, aud="stream"), expires_at

    async def _verify_ticket(self, ticket: str) -> Access:
        try:
            return await self._verify_signed(ticket, "stream")
        except jwt.PyJWTError as error:
            detail = "The stream ticket is invalid or expired; get a new one with POST /api/stream-tickets."
            raise _invalid_token(f"{detail} {_HOW_TO}") from error

    def create_portal_token(
        self, access: Access, link_id: str, *, seconds: int, now: float
    ) -> tuple[str, int]:
        """Return a token for the user's webhooks and nothing else, and its expiry."""
        expires_at = int(now) + seconds
        if access.key is not None and access.expires_at is not None:  # the link ends with the key
            expires_at = min(expires_at, access.expires_at)
        signed = self._sign(access, expires_at, aud="portal", scope="webhooks", jti=link_id)
        return PORTAL_PREFIX + signed, expires_at

    async def _verify_portal_token(self, token: str) -> Access:
        try:
            return await self._verify_signed(token.removeprefix(PORTAL_PREFIX), "portal")
        except (jwt.PyJWTError, Unauthenticated) as error:  # the holder of the link knows of no key
            raise _invalid_token("The portal's link is invalid or expired; ask for a new one.") from error

    def _sign(self, access: Access, expires_at: int, **claims: str) -> str:
        key = {"key": access.key.key_id} if access.key is not None else {}
        return jwt.encode(
            {"sub": access.user_id, "exp": expires_at, **claims, **key}, self._ticket_key, "HS256"
        )

    async def _verify_signed(self, signed: str, audience: str) -> Access:
        """Return the access of what this service signed; it ends with the key that asked for it."""
        expected = {"audience": audience, "issuer": None}
        claims = decode_token(signed, self._ticket_key, ["HS256"], expected, leeway_seconds=0)
        key = None
        if self._keys is not None and "key" in claims:
            key = await _find_key(self._keys.find_by_id(claims["key"]))
        return Access(str(claims["sub"]), int(claims["exp"]), key, claims.get("jti"))

    async def _verify_token(self, token: str) -> Access:
        if not token:
            raise Unauthenticated(
                f"The request carries no token. {_HOW_TO}", headers={"WWW-Authenticate": "Bearer"}
            )
        if token.startswith(PORTAL_PREFIX):
            raise _invalid_token(f"The token is for webhooks and nothing else. {_HOW_TO}")
        if self._keys is not None and token.startswith(PREFIX):
            return await self._verify_key(token, self._keys)
        assert self._verifier is not None
        try:
            claims = await self._verifier.verify(token)
        except jwt.PyJWTError as error:
            raise _invalid_token(f"The token is invalid or expired. {_HOW_TO}") from error
        subject = claims.get("sub")
        if not (isinstance(subject, str) and is_valid_user_id(subject)):
            raise _invalid_token(f"The token has no usable `sub` claim, which names the user. {_HOW_TO}")
        return Access(subject, min(int(claims["exp"]), MAX_EXPIRY))

    async def _verify_key(self, text: str, keys: KeyRing) -> Access:
        if not is_key(text):
            raise _invalid_token("The API key has a typing error or is cut off; its checksum is wrong.")
        key = await _find_key(keys.find(text))
        return Access(key.user_id, None if key.expires_at is None else int(key.expires_at), key)


async def _find_key(search: Awaitable[ActiveKey | None]) -> ActiveKey:
    """Return the key that a search finds; raises Unauthenticated, or Unavailable if the database can't be read."""
    try:
        key = await search
    except DATABASE_ERRORS as error:
        raise Unavailable from error
    if key is None:
        raise _invalid_token(
            "The API key is unknown, expired or revoked; create a new one with POST /api/keys."
        )
    return key


def _bearer_token(connection: HTTPConnection[Any]) -> str | None:
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    return token if scheme.lower() == "bearer" else None


def _invalid_token(detail: str) -> Unauthenticated:
    return Unauthenticated(detail, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})


def is_valid_user_id(subject: str) -> bool:
    """Tell whether a text can be the id of a user."""
    return 0 < len(subject) <= MAX_USER_ID_CHARACTERS and subject.isprintable()
