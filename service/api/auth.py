"""Who is asking, and until when: a bearer token, a same-origin cookie, or a ticket for streams → a user id."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

import jwt
from starlette.requests import HTTPConnection

from service.problems import Unauthenticated, Unavailable

LOCAL_USER = "local"
COOKIE_NAME = "framehook_token"
MAX_TICKET_SECONDS: Final = 3_600
CLOCK_LEEWAY_SECONDS: Final = 30.0
"""How far the clock of whoever signs tokens may be from this one, for `iat`, `nbf` and `exp`."""
MAX_EXPIRY: Final = 253_402_300_799
"""The last second of the year 9999: a token may name any number."""
MAX_USER_ID_CHARACTERS = 200
KEY_CACHE_SECONDS = 600.0
# A token may name any key that comes to anybody's mind: what it names is looked for no more often than this.
MIN_REFRESH_SECONDS = 30.0
FAILURE_CACHE_SECONDS = 5.0
_HOW_TO = "Send `Authorization: Bearer <token>` with a valid token."
_KEYS_UNREADABLE = "The keys of the identity provider can't be loaded; try again in a few seconds."
_ASYMMETRIC = ["RS256", "ES256", "EdDSA"]


@dataclass(frozen=True)
class Access:
    """Whose streams may be read, and until when, in seconds since the epoch; None: without an end."""

    user_id: str
    expires_at: int | None = None

    def seconds_left(self, now: float) -> float:
        """How long it lasts from `now` on."""
        return float("inf") if self.expires_at is None else self.expires_at - now


class Verifier(Protocol):
    """Checks a token and gives its claims; raises `jwt.PyJWTError`, or Unavailable if it can't tell."""

    async def verify(self, token: str) -> dict[str, Any]:
        """The claims of a valid token."""
        ...


class SharedSecretVerifier:
    """Tokens signed with HS256 by whoever shares the secret."""

    def __init__(self, secret: str, *, audience: str | None, issuer: str | None) -> None:
        self._secret = secret
        self._expected = {"audience": audience, "issuer": issuer}

    async def verify(self, token: str) -> dict[str, Any]:
        return _decode(token, self._secret, ["HS256"], self._expected)


class JwksVerifier:
    """Tokens signed by an identity provider, whose keys are read from its JWKS URL and kept for a while.

    Whatever tokens say, the provider is asked by one at a time, and not before a pause: after an answer that did not
    hold the key, and after one that could not be read.
    """

    def __init__(
        self,
        url: str,
        *,
        audience: str | None,
        issuer: str | None,
        kept_seconds: float = KEY_CACHE_SECONDS,
        apart_seconds: float = MIN_REFRESH_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keys = jwt.PyJWKClient(url, lifespan=kept_seconds, timeout=5, cooldown_duration=apart_seconds)
        self._expected = {"audience": audience, "issuer": issuer}
        self._clock = clock
        self._failed_until = 0.0
        self._refresh_lock = asyncio.Lock()

    async def verify(self, token: str) -> dict[str, Any]:
        name = str(jwt.get_unverified_header(token).get("kid"))
        key = self._cached_key(name) or await self._refresh_key(name)
        # The key says which algorithm it is for; the token, which anybody may have made, does not.
        allowed = [algorithm for algorithm in _ASYMMETRIC if algorithm == key.algorithm_name]
        return _decode(token, key.key, allowed, self._expected)

    def _cached_key(self, name: str) -> jwt.PyJWK | None:
        """The key, if it is among those read last and those are not too old."""
        cache = self._keys.jwk_set_cache
        kept = cache.get() if cache else None
        signing = [key for key in kept.keys if key.public_key_use in ("sig", None)] if kept else []
        return self._keys.match_kid(signing, name)

    async def _refresh_key(self, name: str) -> jwt.PyJWK:
        async with self._refresh_lock:
            if self._clock() < self._failed_until:
                raise Unavailable(_KEYS_UNREADABLE)
            try:
                return await asyncio.to_thread(self._fetch_key, name)
            except Unavailable:
                self._failed_until = self._clock() + FAILURE_CACHE_SECONDS
                raise

    def _fetch_key(self, name: str) -> jwt.PyJWK:
        try:
            self._keys.get_signing_keys()
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            raise Unavailable(_KEYS_UNREADABLE) from error
        try:
            return self._keys.get_signing_key(name)  # may read them anew, for the name of a new key
        except (jwt.PyJWKClientConnectionError, jwt.PyJWKSetError, ValueError, RecursionError) as error:
            raise Unavailable(_KEYS_UNREADABLE) from error


class Authenticator:
    """Tells users apart; without a verifier there is one local user."""

    def __init__(self, verifier: Verifier | None, ticket_key: bytes) -> None:
        self._verifier = verifier
        self._ticket_key = ticket_key

    async def user(self, connection: HTTPConnection[Any]) -> str:
        """The user of a request; raises Unauthenticated."""
        return (await self.access(connection)).user_id

    async def access(self, connection: HTTPConnection[Any]) -> Access:
        """The user of a request, and when the token ends; raises Unauthenticated."""
        if self._verifier is None:
            return Access(LOCAL_USER)
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            token = connection.cookies.get(COOKIE_NAME, "")
        return await self._verify_token(token)

    async def stream_access(self, connection: HTTPConnection[Any]) -> Access:
        """The user of a stream, who may come with a ticket instead; raises Unauthenticated.

        A stream ends with its token to the second: the leeway is for the clocks of single requests.
        """
        ticket = connection.query_params.get("ticket")
        if ticket is None or self._verifier is None:
            access = await self.access(connection)
        else:
            access = self._verify_ticket(ticket)
        if access.seconds_left(time.time()) <= 0:
            raise _invalid_token(f"The token has expired. {_HOW_TO}")
        return access

    def create_ticket(
        self, access: Access, *, seconds: int = MAX_TICKET_SECONDS, now: float
    ) -> tuple[str, int]:
        """A ticket that opens the user's streams as often as it takes, and when it ends: not after the token."""
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
