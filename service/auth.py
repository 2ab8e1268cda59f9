"""Who is asking: a bearer token, a same-origin cookie, or a one-minute ticket for streams → a user id."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Protocol

import jwt
from starlette.requests import HTTPConnection

from service.errors import Unauthenticated, Unavailable

LOCAL_USER = "local"
COOKIE = "framehook_token"
TICKET_SECONDS = 60
MAX_USER_ID_CHARACTERS = 200
KEYS_KEPT_SECONDS = 600.0
# A token may name any key that comes to anybody's mind: what it names is looked for no more often than this.
LOOKS_APART_SECONDS = 30.0
ILL_SECONDS = 5.0
_UNREADABLE = "The identity provider's keys can't be read."
_ASYMMETRIC = ["RS256", "ES256", "EdDSA"]


class Verifier(Protocol):
    """Checks a token and gives its claims; raises `jwt.PyJWTError`, or Unavailable if it can't tell."""

    async def claims(self, token: str) -> dict[str, Any]:
        """The claims of a valid token."""
        ...


class SharedSecret:
    """Tokens signed with HS256 by whoever shares the secret."""

    def __init__(self, secret: str, *, audience: str | None, issuer: str | None) -> None:
        self._secret = secret
        self._expected = {"audience": audience, "issuer": issuer}

    async def claims(self, token: str) -> dict[str, Any]:
        return _decode(token, self._secret, ["HS256"], self._expected)


class PublishedKeys:
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
        kept_seconds: float = KEYS_KEPT_SECONDS,
        apart_seconds: float = LOOKS_APART_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keys = jwt.PyJWKClient(url, lifespan=kept_seconds, timeout=5, cooldown_duration=apart_seconds)
        self._expected = {"audience": audience, "issuer": issuer}
        self._clock = clock
        self._ill_until = 0.0
        self._asking = asyncio.Lock()

    async def claims(self, token: str) -> dict[str, Any]:
        name = str(jwt.get_unverified_header(token).get("kid"))
        key = self._kept(name) or await self._looked_for(name)
        # The key says which algorithm it is for; the token, which anybody may have made, does not.
        allowed = [algorithm for algorithm in _ASYMMETRIC if algorithm == key.algorithm_name]
        return _decode(token, key.key, allowed, self._expected)

    def _kept(self, name: str) -> jwt.PyJWK | None:
        """The key, if it is among those read last and those are not too old."""
        cache = self._keys.jwk_set_cache
        kept = cache.get() if cache else None
        signing = [key for key in kept.keys if key.public_key_use in ("sig", None)] if kept else []
        return self._keys.match_kid(signing, name)

    async def _looked_for(self, name: str) -> jwt.PyJWK:
        async with self._asking:
            if self._clock() < self._ill_until:
                raise Unavailable(_UNREADABLE)
            try:
                return await asyncio.to_thread(self._key_of, name)
            except Unavailable:
                self._ill_until = self._clock() + ILL_SECONDS
                raise

    def _key_of(self, name: str) -> jwt.PyJWK:
        try:
            self._keys.get_signing_keys()
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            raise Unavailable(_UNREADABLE) from error
        try:
            return self._keys.get_signing_key(name)  # may read them anew, for the name of a new key
        except (jwt.PyJWKClientConnectionError, jwt.PyJWKSetError, ValueError, RecursionError) as error:
            raise Unavailable(_UNREADABLE) from error


class Authenticator:
    """Tells users apart; without a verifier there is one local user."""

    def __init__(self, verifier: Verifier | None, ticket_key: bytes) -> None:
        self._verifier = verifier
        self._ticket_key = ticket_key

    async def user(self, connection: HTTPConnection[Any]) -> str:
        """The user of a request; raises Unauthenticated."""
        if self._verifier is None:
            return LOCAL_USER
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            token = connection.cookies.get(COOKIE, "")
        return await self._subject(token)

    async def stream_user(self, connection: HTTPConnection[Any]) -> str:
        """The user of a stream, who may come with a ticket instead; raises Unauthenticated."""
        ticket = connection.query_params.get("ticket")
        if ticket is None or self._verifier is None:
            return await self.user(connection)
        try:
            return str(
                _decode(ticket, self._ticket_key, ["HS256"], {"audience": "stream", "issuer": None})["sub"]
            )
        except jwt.PyJWTError as error:
            raise Unauthenticated("The stream ticket is not valid, or no longer.") from error

    def ticket(self, user_id: str, *, now: float) -> str:
        """A ticket that opens the user's streams for a minute, as often as it takes."""
        claims = {"sub": user_id, "aud": "stream", "exp": int(now) + TICKET_SECONDS}
        return jwt.encode(claims, self._ticket_key, "HS256")

    async def _subject(self, token: str) -> str:
        if not token:
            raise Unauthenticated(headers={"WWW-Authenticate": "Bearer"})
        assert self._verifier is not None
        try:
            subject = (await self._verifier.claims(token)).get("sub")
        except jwt.PyJWTError as error:
            raise Unauthenticated(
                "The token is not valid, or no longer.",
                headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
            ) from error
        if not (isinstance(subject, str) and _can_be_a_name(subject)):
            raise Unauthenticated("The token names no user.")
        return subject


def _can_be_a_name(subject: str) -> bool:
    return 0 < len(subject) <= MAX_USER_ID_CHARACTERS and subject.isprintable()


def _decode(token: str, key: Any, algorithms: list[str], expected: dict[str, str | None]) -> dict[str, Any]:
    options: Any = {"require": ["exp", "sub"], "verify_aud": expected["audience"] is not None}
    claims: dict[str, Any] = jwt.decode(token, key, algorithms=algorithms, options=options, **expected)  # type: ignore[arg-type]
    return claims
