"""The mistakes that make a verification fail, and a sentence for each."""

from enum import StrEnum


class Mistake(StrEnum):
    """Code of a mistake, as `problem` in the response of `POST /api/webhooks/verify`."""

    HEADER_MISSING = "header_missing"
    HEADER_MALFORMED = "header_malformed"
    OTHER_VERSION = "other_version"
    CLOCK_OFF = "clock_off"
    OLD_KEY = "old_key"
    OTHER_ENDPOINT = "other_endpoint"
    WRONG_SECRET = "wrong_secret"  # noqa: S105 - a code
    BODY_RESERIALISED = "body_reserialised"
    BODY_LINE_ENDS = "body_line_ends"
    BODY_ENCODING = "body_encoding"
    BODY_CHANGED = "body_changed"
    ID_CHANGED = "id_changed"
    TIMESTAMP_CHANGED = "timestamp_changed"
    SECRET_NOT_DECODED = "secret_not_decoded"  # noqa: S105
    SECRET_WITH_PREFIX = "secret_with_prefix"  # noqa: S105
    SECRET_DECODED_WITH_PREFIX = "secret_decoded_with_prefix"  # noqa: S105
    CONTENT = "signed_content"
    OTHER_HASH = "other_hash"
    HEX = "hex"
    OTHER_BASE64 = "other_base64"
    UNEXPLAINED = "unexplained"


SENTENCES: dict[Mistake, str] = {
    Mistake.OLD_KEY: "It was signed with the previous secret, which a rotation has replaced.",
    Mistake.OTHER_ENDPOINT: "It was signed with the secret of another of your endpoints.",
    Mistake.BODY_RESERIALISED: "The body was parsed and serialized again. Verify the raw bytes, then parse them.",
    Mistake.BODY_LINE_ENDS: "Whitespace or line endings of the body were changed.",
    Mistake.BODY_ENCODING: "The body was re-encoded: another character set, or a byte order mark added or removed.",
    Mistake.BODY_CHANGED: "The body is not the one that was sent.",
    Mistake.ID_CHANGED: "The webhook-id is not the one that was signed.",
    Mistake.TIMESTAMP_CHANGED: "The webhook-timestamp is not the one that was signed. Use the header, not a clock.",
    Mistake.SECRET_NOT_DECODED: "The secret was used as text. Decode the base64 after whsec_ to get the key.",
    Mistake.SECRET_WITH_PREFIX: "The secret was used as text with its prefix. Remove whsec_ and decode the base64.",
    Mistake.SECRET_DECODED_WITH_PREFIX: "The prefix whsec_ was decoded as part of the base64. Remove it first.",
    Mistake.CONTENT: "The signed content is webhook-id, a dot, webhook-timestamp, a dot and the body, nothing else.",
    Mistake.OTHER_HASH: "A hash other than SHA-256 was used.",
    Mistake.HEX: "The signature is in hexadecimal; it must be base64.",
    Mistake.OTHER_BASE64: "The signature is URL-safe base64 or lacks padding; it must be standard base64.",
}
