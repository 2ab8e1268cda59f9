"""AWS Signature Version 4, worked out again from a request that arrived: what S3 would have against it."""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, quote, urlsplit

SECRET_KEY = "a secret that only the tests know"
_STAMP = "%Y%m%dT%H%M%SZ"


def find_signature_error(
    method: str, target: str, headers: Mapping[str, str], body: bytes, now: datetime
) -> str | None:
    """Why S3 would refuse the request's signature, or None."""
    parts = urlsplit(target)
    query = parse_qsl(parts.query, keep_blank_values=True)
    asked = dict(query)
    if "X-Amz-Signature" in asked:
        began = datetime.strptime(asked["X-Amz-Date"], _STAMP).replace(tzinfo=UTC)
        if now > began + timedelta(seconds=int(asked["X-Amz-Expires"])):
            return "AccessDenied"
        names, given = asked["X-Amz-SignedHeaders"], asked["X-Amz-Signature"]
        credential, stamp = asked["X-Amz-Credential"], asked["X-Amz-Date"]
        payload = "UNSIGNED-PAYLOAD"
        query = [(name, value) for name, value in query if name != "X-Amz-Signature"]
    elif headers.get("authorization", "").startswith("AWS4-HMAC-SHA256 "):
        fields = dict(
            field.strip().split("=", 1) for field in headers["authorization"].partition(" ")[2].split(",")
        )
        names, given, credential = fields["SignedHeaders"], fields["Signature"], fields["Credential"]
        stamp, payload = headers["x-amz-date"], headers["x-amz-content-sha256"]
        if payload not in ("UNSIGNED-PAYLOAD", hashlib.sha256(body).hexdigest()):
            return "XAmzContentSHA256Mismatch"
    else:
        return "AccessDenied"
    canonical_query = "&".join(
        sorted(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in query)
    )
    listed = "".join(f"{name}:{' '.join(headers.get(name, '').split())}\n" for name in names.split(";"))
    canonical = "\n".join((method, parts.path, canonical_query, listed, names, payload))
    scope = credential.split("/", 1)[1]
    hashed = hashlib.sha256(canonical.encode()).hexdigest()
    key = b"AWS4" + SECRET_KEY.encode()
    for step in scope.split("/"):
        key = hmac.digest(key, step.encode(), "sha256")
    expected = hmac.new(key, f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashed}".encode(), "sha256").hexdigest()
    return None if hmac.compare_digest(expected, given) else "SignatureDoesNotMatch"
