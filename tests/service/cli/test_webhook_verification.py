"""`framehook webhooks verify`: a captured request, with a secret, a public key, or the service's own knowledge."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from callbacks.signing import SIGNATURE_HEADER, encode_secret, signature_headers
from service.webhooks import ed25519
from tests.service.cli.commands import run, run_json, run_on
from tests.support.live_server import LiveServer, ScriptedResponse, serve_script

KEY = bytes(range(32))
OLD_KEY = bytes(range(1, 33))
SECRET = encode_secret(KEY)
BODY = b'{"type":"export.completed","data":{"n":1}}'
TIMESTAMP = 1_700_000_000
PRIVATE_KEY = Ed25519PrivateKey.from_private_bytes(KEY)
PUBLIC_KEY = ed25519.encode_public(PRIVATE_KEY.public_key())


def sign(key: bytes = KEY, body: bytes = BODY) -> dict[str, str]:
    return signature_headers(key, "msg_1", TIMESTAMP, body)


def capture(path: Path, headers: Mapping[str, str], body: bytes = BODY, *, newline: str = "\r\n") -> Path:
    """Write a request as a proxy or a log has it."""
    lines = [
        "POST /hook HTTP/1.1",
        "Host: example.org:443",
        *(f"{name}: {headers[name]}" for name in headers),
    ]
    path.write_bytes((newline.join(lines) + 2 * newline).encode() + body)
    return path


@pytest.mark.parametrize("newline", ["\r\n", "\n"])
def test_a_valid_request_is_valid_however_old_it_is(tmp_path: Path, newline: str) -> None:
    request = capture(tmp_path / "request", sign(), newline=newline)
    result = run("webhooks", "verify", request, "--secret", SECRET)
    assert (result.status, result.out, result.err) == (0, "The message is valid.\n", "")
    late = run("webhooks", "verify", request, "--secret", SECRET, "--received-at", "2023-11-14T23:13:20Z")
    assert (late.status, "3600 s behind the clock" in late.out) == (1, True)


def test_a_request_is_given_by_its_parts_and_the_secret_by_a_variable(tmp_path: Path) -> None:
    body = tmp_path / "body.json"
    body.write_bytes(BODY)
    headers = [word for name, value in sign().items() for word in ("--header", f"{name}:{value}")]
    words: list[str | Path] = ["webhooks", "verify", *headers, "--body", body, "--json"]
    result = run(*words, FRAMEHOOK_WEBHOOK_SECRET=SECRET)
    assert (result.status, json.loads(result.out)["valid"]) == (0, True)
    assert run(*words, FRAMEHOOK_WEBHOOK_SECRET=encode_secret(OLD_KEY)).status == 1


def test_a_public_key_verifies_what_is_signed_with_both(tmp_path: Path) -> None:
    headers = sign()
    headers[SIGNATURE_HEADER] += f" {ed25519.sign(PRIVATE_KEY, 'msg_1', TIMESTAMP, BODY)}"
    request = capture(tmp_path / "request", headers)
    assert run("webhooks", "verify", request, "--public-key", PUBLIC_KEY).status == 0
    capture(request, headers, BODY + b" ")
    changed = run("webhooks", "verify", request, "--public-key", PUBLIC_KEY)
    assert (changed.status, changed.out) == (
        1,
        "The message is not valid. Whitespace or line endings of the body were changed.\n",
    )


@pytest.mark.parametrize(
    ("headers", "body", "sentence"),
    [
        (
            sign(),
            b'{"type": "export.completed", "data": {"n": 1}}',
            "The body was parsed and serialized again.",
        ),
        (sign(OLD_KEY), BODY, "It was signed with the previous secret"),
        (sign() | {"webhook-id": ""}, BODY, "The header webhook-id is missing."),
        (
            sign() | {"webhook-timestamp": f"{TIMESTAMP}000"},
            BODY,
            "is in milliseconds; it must be in seconds",
        ),
    ],
)
def test_what_is_wrong_is_said(
    tmp_path: Path, headers: Mapping[str, str], body: bytes, sentence: str
) -> None:
    request = capture(tmp_path / "request", headers, body)
    result = run("webhooks", "verify", request, "--secret", SECRET, "--secret", encode_secret(OLD_KEY))
    assert (result.status, sentence in result.out) == (1, True), result


def test_what_can_not_be_a_request_is_refused(tmp_path: Path) -> None:
    request = capture(tmp_path / "request", sign())
    no_body = tmp_path / "body"
    no_body.write_bytes(BODY)
    for words, sentence in (
        ((), "give a file with the whole request, or its headers with --header and --body"),
        ((request, "--body", no_body), "give a file with the whole request"),
        ((request, "--header", "a:b"), "leave --header out"),
        ((no_body,), "the request has no empty line between its headers and its body"),
        (
            ("--body", no_body, "--header", "webhook-id"),
            "'webhook-id' is not a header of the form NAME: VALUE",
        ),
        ((tmp_path / "none",), "none: no such file or directory"),
        ((request, "--secret", "whsec_x"), "a webhook secret is `whsec_` and base64"),
        ((request, "--public-key", "whpk_x"), "a public key is `whpk_` and the base64 of 32 bytes"),
    ):
        result = run("webhooks", "verify", *(words if "--secret" in words else (*words, "--secret", SECRET)))
        assert (result.status, result.out, result.err.count("\n")) == (2, "", 1), words
        assert sentence in result.err


async def test_the_service_says_what_it_sent(server: LiveServer, tmp_path: Path) -> None:
    with serve_script(ScriptedResponse(204)) as receiver:
        endpoint = await run_json(server, "webhooks", "add", receiver.url)
        await run_on(server, "webhooks", "test", endpoint["id"])
        [received] = receiver.requests
    request = capture(tmp_path / "request", received.headers, received.body)
    valid = await run_json(server, "webhooks", "verify", request)
    assert (valid["valid"], valid["id"]) == (True, endpoint["id"])
    capture(request, received.headers, b"{}")
    changed = await run_on(server, "webhooks", "verify", request, "--endpoint", endpoint["id"])
    assert (changed.status, changed.out) == (
        1,
        "The message is not valid. The body is not the one that was sent.\n",
    )
    unknown = await run_on(server, "webhooks", "verify", request, "--endpoint", "ep_unknown")
    assert unknown.status == 3
