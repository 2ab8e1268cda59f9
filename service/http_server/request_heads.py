"""Rules that the head of each request must keep to, so that no proxy before the service can read it in another way."""

from collections.abc import Sequence
from typing import Final

from service.problems import MalformedRequest, Problem

VERSIONS: Final = ("1.1", "1.0")
_SINGLE: Final = frozenset(
    (
        *(b"host", b"authorization", b"content-type", b"idempotency-key", b"transfer-encoding"),
        *(b"webhook-id", b"webhook-timestamp", b"webhook-signature"),
    )
)
"""Fields of which a request has one at most: of two, this service could use one and a proxy the other."""


class UnsupportedVersion(Problem):
    title = "The service speaks HTTP/1.1 and HTTP/1.0."
    status = 505
    code = "http_version_not_supported"


class UnsupportedCoding(Problem):
    title = "The service decodes no transfer coding but `chunked`; send the body as it is."
    status = 501
    code = "transfer_coding_not_supported"


def check_head(method: bytes, version: str, headers: Sequence[tuple[bytes, bytes]]) -> None:
    """Raise a Problem if the head is ambiguous, or needs what the service does not have (RFC 9112)."""
    if version not in VERSIONS:
        raise UnsupportedVersion
    if method == b"CONNECT":
        raise MalformedRequest("The service is no proxy; CONNECT is not supported.")
    single_values: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in _SINGLE:
            if name in single_values:
                raise MalformedRequest(f"The request has more than one field `{name.decode()}`.")
            single_values[name] = value
    if b"host" not in single_values and version != "1.0":
        raise MalformedRequest("The request has no field `Host`.")
    if single_values.get(b"transfer-encoding", b"chunked").lower() != b"chunked":
        raise UnsupportedCoding
