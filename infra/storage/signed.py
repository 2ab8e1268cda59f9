"""Sign and verify the expiring URLs under which the service itself serves objects of a folder."""

import time
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import quote

import jwt

from infra.storage.base import SignedUrl
from infra.storage.presentation import Disposition

_AUDIENCE = "file"


class ExpiredToken(Exception):
    """The token was valid and has expired."""


class InvalidToken(Exception):
    """The token was not signed with this key, or is for another object."""


@dataclass(frozen=True)
class Grant:
    """What a URL permits: to read an object, to write one of exactly `size` bytes, or to write one part of it.

    For reading, `size` is that of the only object that may be read, and the others say how browsers treat it.

    The fields are the claims of the token, so that a new name invalidates the URLs in use.
    """

    act: Literal["read", "write", "part"]
    user_id: str
    key: str
    size: int | None = None
    content_type: str | None = None
    filename: str | None = None
    disposition: Disposition | None = None
    upload_id: str | None = None
    number: int | None = None


@dataclass(frozen=True)
class UrlSigner:
    """Sign and verify URLs under `{origin}/api/files/`."""

    origin: str
    key: bytes = field(repr=False)

    def sign(self, grant: Grant, expires_seconds: int) -> SignedUrl:
        """Return a URL for the grant, and the headers to send with it."""
        claims: dict[str, Any] = {name: value for name, value in vars(grant).items() if value is not None}
        claims |= {"aud": _AUDIENCE, "exp": int(time.time()) + expires_seconds}
        token = jwt.encode(claims, self.key, "HS256")
        is_write = grant.act == "write"
        headers = {"Content-Type": grant.content_type} if is_write and grant.content_type else {}
        return SignedUrl(f"{self.origin}/api/files/{quote(grant.key)}?token={token}", headers)

    def verify(self, token: str, key: str) -> Grant:
        """Return what a token permits for this key; raises ExpiredToken or InvalidToken."""
        try:
            claims = jwt.decode(token, self.key, algorithms=["HS256"], audience=_AUDIENCE)
        except jwt.ExpiredSignatureError:
            raise ExpiredToken from None
        except jwt.PyJWTError:
            raise InvalidToken from None
        grant = Grant(**{name: value for name, value in claims.items() if name not in ("aud", "exp")})
        if grant.key != key:
            raise InvalidToken
        return grant
