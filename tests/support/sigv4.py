"""Verify AWS Signature Version 4 of a received request, as S3 does."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, quote, urlsplit

SECRET_KEY = "a secret that only the tests know"
_TIME_FORMAT = "%Y%m%dT%H%M%SZ"

Query = list[tuple[str, str]]


@dataclass(frozen=True)
class _Signature:
    """The fields of a signature; `query` is the part of the query string that is signed."""

    query: Query
    signed_headers: str
    signature: str
    credential: str
    timestamp: str
    payload: str


def find_signature_error(
    method: str, target: str, headers: Mapping[str, str], body: bytes, now: datetime
) -> str | None:
    """Return the error code with which S3 rejects the signature, or None."""
    parts = urlsplit(target)
    query = parse_qsl(parts.query, keep_blank_values=True)
    parameters = dict(query)
    if "X-Amz-Signature" in parameters:
        signed_at = datetime.strptime(parameters["X-Amz-Date"], _TIME_FORMAT).replace(tzinfo=UTC)
        if now > signed_at + timedelta(seconds=int(parameters["X-Amz-Expires"])):
            return "AccessDenied"
        signature = _query_signature(query)
    elif headers.get("authorization", "").startswith("AWS4-HMAC-SHA256 "):
        signature = _header_signature(query, headers)
        if signature.payload not in ("UNSIGNED-PAYLOAD", hashlib.sha256(body).hexdigest()):
            return "XAmzContentSHA256Mismatch"
    else:
        return "AccessDenied"
    expected = _sign(method, parts.path, headers, signature)
    return None if hmac.compare_digest(expected, signature.signature) else "SignatureDoesNotMatch"


def _query_signature(query: Query) -> _Signature:
    parameters = dict(query)
    return _Signature(
        query=[(name, value) for name, value in query if name != "X-Amz-Signature"],
        signed_headers=parameters["X-Amz-SignedHeaders"],
        signature=parameters["X-Amz-Signature"],
        credential=parameters["X-Amz-Credential"],
        timestamp=parameters["X-Amz-Date"],
        payload="UNSIGNED-PAYLOAD",
    )


def _header_signature(query: Query, headers: Mapping[str, str]) -> _Signature:
    pairs = headers["authorization"].partition(" ")[2].split(",")
    fields = dict(pair.strip().split("=", 1) for pair in pairs)
    return _Signature(
        query=query,
        signed_headers=fields["SignedHeaders"],
        signature=fields["Signature"],
        credential=fields["Credential"],
        timestamp=headers["x-amz-date"],
        payload=headers["x-amz-content-sha256"],
    )


def _sign(method: str, path: str, headers: Mapping[str, str], signature: _Signature) -> str:
    """Compute the signature that the request should have."""
    query = "&".join(
        sorted(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in signature.query)
    )
    names = signature.signed_headers
    lines = "".join(f"{name}:{' '.join(headers.get(name, '').split())}\n" for name in names.split(";"))
    request = "\n".join((method, path, query, lines, names, signature.payload))
    scope = signature.credential.split("/", 1)[1]
    digest = hashlib.sha256(request.encode()).hexdigest()
    key = b"AWS4" + SECRET_KEY.encode()
    for step in scope.split("/"):
        key = hmac.digest(key, step.encode(), "sha256")
    text = f"AWS4-HMAC-SHA256\n{signature.timestamp}\n{scope}\n{digest}"
    return hmac.new(key, text.encode(), "sha256").hexdigest()
