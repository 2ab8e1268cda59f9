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
    Mistake.OLD_KEY: "It is signed with the secret from before the last rotation.",
    Mistake.OTHER_ENDPOINT: "It is signed with the secret of another endpoint of yours.",
    Mistake.BODY_RESERIALISED: "The body was parsed and written anew: verify the bytes as they came, then parse them.",
    Mistake.BODY_LINE_ENDS: "White space or line ends at the edges of the body, or within it, were changed.",
    Mistake.BODY_ENCODING: "The body's characters were encoded anew: a byte order mark or another character set.",
    Mistake.BODY_CHANGED: "The body is not the one that was sent.",
    Mistake.ID_CHANGED: "The webhook-id is not the one that was signed.",
    Mistake.TIMESTAMP_CHANGED: "The webhook-timestamp is not the one that was signed: take the header's, no clock's.",
    Mistake.SECRET_NOT_DECODED: "The secret was used as text: decode the base64 after whsec_ to get the key's bytes.",
    Mistake.SECRET_WITH_PREFIX: "The secret was used as text, prefix and all: drop whsec_ and decode the base64.",
    Mistake.SECRET_DECODED_WITH_PREFIX: "The prefix whsec_ was decoded as part of the base64: drop it first.",
    Mistake.CONTENT: "What is signed is webhook-id, a dot, webhook-timestamp, a dot and the body, and nothing else.",
    Mistake.OTHER_HASH: "The hash is another one than SHA-256.",
    Mistake.HEX: "The signature is written in hexadecimal: it is sent in base64.",
    Mistake.OTHER_BASE64: "The signature lacks its padding or uses the base64 of URLs: it is sent in plain base64.",
}
