"""Verify JWTs: with a shared secret, or with the keys of an identity provider."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

import jwt

from service.problems import Unavailable

logger = logging.getLogger("framehook.tokens")

CLOCK_LEEWAY_SECONDS: Final = 30.0
"""How far the clock of the signer of tokens may be from ours, for `iat`, `nbf` and `exp`."""
KEY_CACHE_SECONDS = 600.0
# A token may name any key id. Unknown ones make us load the provider's keys again, at most this often.
MIN_REFRESH_SECONDS = 30.0
FAILURE_CACHE_SECONDS = 5.0
_KEYS_UNREADABLE = "The keys of the identity provider can't be loaded; try again in a few seconds."
_ASYMMETRIC = ["RS256", "ES256", "EdDSA"]
_LOAD_SECONDS = 5.0


class Verifier(Protocol):
    """Verifies tokens."""

    async def verify(self, token: str) -> dict[str, Any]:
        """Return the claims of a valid token.

        Raises `jwt.PyJWTError`, or Unavailable if the keys can't be loaded.
        """
        ...


class KeysUnreadable(Exception):
    """The keys of an identity provider can't be used; the message says why."""


def count_keys(url: str) -> int:
    """Return how many keys a JWKS URL has with which tokens can be verified, for at most some seconds.

    Raises KeysUnreadable.
    """
    try:
        keys = jwt.PyJWKClient(url, timeout=_LOAD_SECONDS).get_signing_keys()
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise KeysUnreadable(str(error)) from error
    return sum(key.algorithm_name in _ASYMMETRIC for key in keys)


class SharedSecretVerifier:
    """Verifies tokens that are signed with HS256 and a shared secret."""

    def __init__(self, secret: str, *, audience: str | None, issuer: str | None) -> None:
        self._secret = secret
        self._expected = {"audience": audience, "issuer": issuer}

    async def verify(self, token: str) -> dict[str, Any]:
        return decode_token(token, self._secret, ["HS256"], self._expected)


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
            url, lifespan=cache_seconds, timeout=_LOAD_SECONDS, cooldown_duration=refresh_seconds
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
        return decode_token(token, key.key, allowed, self._expected)

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
            except Unavailable as error:
                logger.error("the keys of AUTH_JWKS_URL can't be loaded: %s", error.__cause__)  # noqa: TRY400 - a reason, not a bug
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


def decode_token(
    token: str,
    key: Any,
    algorithms: list[str],
    expected: dict[str, str | None],
    *,
    leeway_seconds: float = CLOCK_LEEWAY_SECONDS,
) -> dict[str, Any]:
    """Return the claims of a valid token; raises `jwt.PyJWTError`."""
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
