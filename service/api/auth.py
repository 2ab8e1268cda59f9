"""Authentication: turn a bearer token, a cookie or a stream ticket into a user id."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

import jwt
from starlette.requests import HTTPConnection

from infra.telemetry import USER
from service.api.origins.policy import OriginPolicy
from service.problems import Unauthenticated, Unavailable

LOCAL_USER = "local"
COOKIE_NAME = "framehook_token"
MAX_TICKET_SECONDS: Final = 3_600
CLOCK_LEEWAY_SECONDS: Final = 30.0
"""How far the clock of the signer of tokens may be from ours, for `iat`, `nbf` and `exp`."""
MAX_EXPIRY: Final = 253_402_300_799
"""The last second of the year 9999: a token may contain any number."""
MAX_USER_ID_CHARACTERS = 200
KEY_CACHE_SECONDS = 600.0
# A token may name any key id. Unknown ones make us load the provider's keys again, at most this often.
MIN_REFRESH_SECONDS = 30.0
FAILURE_CACHE_SECONDS = 5.0
_HOW_TO = "Send `Authorization: Bearer <token>` with a valid token."
_KEYS_UNREADABLE = "The keys of the identity provider can't be loaded; try again in a few seconds."
_ASYMMETRIC = ["RS256", "ES256", "EdDSA"]


@dataclass(frozen=True)
class Access:
    """The user of a connection.

    `expires_at` is in seconds since the epoch, None if access does not expire.
    """

    user_id: str
    expires_at: int | None = None

    def seconds_left(self, now: float) -> float:
        """Return how long the access still lasts."""
        return float("inf") if self.expires_at is None else self.expires_at - now


class Verifier(Protocol):
    """Verifies tokens."""

    async def verify(self, token: str) -> dict[str, Any]:
        """Return the claims of a valid token.

        Raises `jwt.PyJWTError`, or Unavailable if the keys can't be loaded.
        """
        ...


class SharedSecretVerifier:
    """Verifies tokens that are signed with HS256 and a shared secret."""

    def __init__(self, secret: str, *, audience: str | None, issuer: str | None) -> None:
        self._secret = secret
        self._expected = {"audience": audience, "issuer": issuer}

    async def verify(self, token: str) -> dict[str, Any]:
        return _decode(token, self._secret, ["HS256"], self._expected)


class JwksVerifier:
    """Verifies tokens with the keys of an identity provider, loaded from its JWKS URL.

    Tokens can't make the service flood the provider: one request at a time, and a pause after a response that lacked
    the key or could not be read.
    """

    def __init__(
        self,
        url: str,
        *,
        audience: str | None,
        issuer: str | None,
        cache_seconds: float = KEY_CACHE_SECONDS,
        refresh_seconds: float = MIN_REFRESH_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keys = jwt.PyJWKClient(
            url, lifespan=cache_seconds, timeout=5, cooldown_duration=refresh_seconds
        )
        self._expected = {"audience": audience, "issuer": issuer}
        self._clock = clock
        self._failed_until = 0.0
        self._refresh_lock = asyncio.Lock()

    async def verify(self, token: str) -> dict[str, Any]:
        key_id = str(jwt.get_unverified_header(token).get("kid"))
        key = self._find_cached_key(key_id) or await self._refresh_key(key_id)
        # The key decides the algorithm, not the token: it is not trusted before it is verified.
        allowed = [algorithm for algorithm in _ASYMMETRIC if algorithm == key.algorithm_name]
        return _decode(token, key.key, allowed, self._expected)

    def _find_cached_key(self, key_id: str) -> jwt.PyJWK | None:
        """Return the key if it is in the cache and the cache is not too old."""
        cache = self._keys.jwk_set_cache
        cached = cache.get() if cache else None
        signing_keys = [key for key in cached.keys if key.public_key_use in ("sig", None)] if cached else []
        return self._keys.match_kid(signing_keys, key_id)

    async def _refresh_key(self, key_id: str) -> jwt.PyJWK:
        async with self._refresh_lock:
            if self._clock() < self._failed_until:
                raise Unavailable(_KEYS_UNREADABLE)
            try:
                return await asyncio.to_thread(self._fetch_key, key_id)
            except Unavailable:
                self._failed_until = self._clock() + FAILURE_CACHE_SECONDS
                raise

    def _fetch_key(self, key_id: str) -> jwt.PyJWK:
        try:
            self._keys.get_signing_keys()
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            raise Unavailable(_KEYS_UNREADABLE) from error
        try:
            return self._keys.get_signing_key(key_id)  # loads the keys again if the id is new
        except (jwt.PyJWKClientConnectionError, jwt.PyJWKSetError, ValueError, RecursionError) as error:
            raise Unavailable(_KEYS_UNREADABLE) from error


class Authenticator:
    """Finds the user of each request; without a verifier there is one local user.

    Browsers add a cookie to requests of any page, and reach a service without authentication from any page: what such
    a request changes, only pages of trusted origins may.
    """

    def __init__(
        self, verifier: Verifier | None, ticket_key: bytes, origins: OriginPolicy | None = None
    ) -> None:
        self._verifier = verifier
        self._ticket_key = ticket_key
        self._origins = origins or OriginPolicy()

    @property
    def asks_for_tokens(self) -> bool:
        """Whether requests need a token; without one there is a single local user."""
        return self._verifier is not None

    async def user(self, connection: HTTPConnection[Any]) -> str:
        """Return the user of a request; raises Unauthenticated."""
        return (await self.access(connection)).user_id

    async def access(self, connection: HTTPConnection[Any]) -> Access:
        """Return the user of a request and when the token expires; raises Unauthenticated or ForeignOrigin."""
        access = await self._find_access(connection)
        connection.scope[USER] = access.user_id
        return access

    async def _find_access(self, connection: HTTPConnection[Any]) -> Access:
        if self._verifier is None:
            if connection.scope["type"] == "http":  # sockets are checked before their handshake
                self._origins.check_credentials(connection)
            return Access(LOCAL_USER)
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
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
            access = await self.access(connection)
        else:
            access = self._verify_ticket(ticket)
            connection.scope[USER] = access.user_id
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
        claims = {"sub": access.user_id, "aud": "stream", "exp": expires_at}
        return jwt.encode(claims, self._ticket_key, "HS256"), expires_at

    def _verify_ticket(self, ticket: str) -> Access:
        try:
            expected = {"audience": "stream", "issuer": None}
            claims = _decode(ticket, self._ticket_key, ["HS256"], expected, leeway_seconds=0)
        except jwt.PyJWTError as error:
            detail = "The stream ticket is invalid or expired; get a new one with POST /api/stream-tickets."
            raise _invalid_token(f"{detail} {_HOW_TO}") from error
        return Access(str(claims["sub"]), int(claims["exp"]))

    async def _verify_token(self, token: str) -> Access:
        if not token:
            raise Unauthenticated(
                f"The request carries no token. {_HOW_TO}", headers={"WWW-Authenticate": "Bearer"}
            )
        assert self._verifier is not None
        try:
            claims = await self._verifier.verify(token)
        except jwt.PyJWTError as error:
            raise _invalid_token(f"The token is invalid or expired. {_HOW_TO}") from error
        subject = claims.get("sub")
        if not (isinstance(subject, str) and _is_valid_user_id(subject)):
            raise _invalid_token(f"The token has no usable `sub` claim, which names the user. {_HOW_TO}")
        return Access(subject, min(int(claims["exp"]), MAX_EXPIRY))


def _invalid_token(detail: str) -> Unauthenticated:
    return Unauthenticated(detail, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})


def _is_valid_user_id(subject: str) -> bool:
    return 0 < len(subject) <= MAX_USER_ID_CHARACTERS and subject.isprintable()


def _decode(
    token: str,
    key: Any,
    algorithms: list[str],
    expected: dict[str, str | None],
    *,
    leeway_seconds: float = CLOCK_LEEWAY_SECONDS,
) -> dict[str, Any]:
    options: Any = {"require": ["exp", "sub"], "verify_aud": expected["audience"] is not None}
    claims: dict[str, Any] = jwt.decode(
        token,
        key,
        algorithms=algorithms,
        options=options,
        leeway=leeway_seconds,
        **expected,  # type: ignore[arg-type]
    )
    return claims
