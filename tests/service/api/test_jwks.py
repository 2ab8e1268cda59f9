"""Keys of an identity provider: trusted while published, and never loaded too often."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from service.api.access.tokens import FAILURE_CACHE_SECONDS, JwksVerifier
from service.api.auth import Authenticator
from service.problems import Unauthenticated, Unavailable
from tests.service.api.test_auth import TICKET_KEY, part, request_with

KINDS = [("rsa", "RS256"), ("ec", "ES256"), ("ed", "EdDSA")]


class Provider:
    """An identity provider: its keys, and what its web server responds."""

    def __init__(self) -> None:
        self.rsa = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
        self.ec = ec.generate_private_key(ec.SECP256R1())
        self.ed = ed25519.Ed25519PrivateKey.generate()
        self.status, self.body = 200, json.dumps({"keys": self.keys()}).encode()
        self.request_count = 0
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.request_count += 1
                self.send_response(provider.status)
                self.end_headers()
                self.wfile.write(provider.body)

            def log_message(self, *_: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/keys"

    def keys(self) -> list[dict[str, object]]:
        algorithms: dict[str, tuple[Any, Any]] = {
            "rsa": (jwt.algorithms.RSAAlgorithm, self.rsa),
            "ec": (jwt.algorithms.ECAlgorithm, self.ec),
            "ed": (jwt.algorithms.OKPAlgorithm, self.ed),
        }
        return [
            {**algorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid, "use": "sig"}
            for kid, (algorithm, key) in algorithms.items()
        ]

    def token(self, kid: str, algorithm: str, key: Any = None, **claims: object) -> str:
        usual = {"sub": "ada", "exp": int(time.time()) + 60}
        private: Any = key or {"rsa": self.rsa, "ec": self.ec, "ed": self.ed}[kid]
        return jwt.encode({**usual, **claims}, private, algorithm, headers={"kid": kid})


@contextmanager
def run_provider() -> Iterator[Provider]:
    """Run a provider until the block ends."""
    provider = Provider()
    thread = threading.Thread(target=provider.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield provider
    provider.server.shutdown()
    thread.join()
    provider.server.server_close()


@pytest.fixture
def provider() -> Iterator[Provider]:
    with run_provider() as provider:
        yield provider


def authenticator_for(provider: Provider, **more: Any) -> Authenticator:
    return Authenticator(JwksVerifier(provider.url, audience=None, issuer=None, **more), TICKET_KEY)


@pytest.mark.parametrize(("kid", "algorithm"), KINDS)
async def test_published_keys_are_trusted_and_cached(provider: Provider, kid: str, algorithm: str) -> None:
    authenticator = authenticator_for(provider)
    for _ in range(3):
        assert await authenticator.user(request_with(f"Bearer {provider.token(kid, algorithm)}")) == "ada"
    assert provider.request_count == 1


async def test_unknown_key_ids_load_the_keys_once(provider: Provider) -> None:
    authenticator = authenticator_for(provider)
    for number in range(20):
        with pytest.raises(Unauthenticated):
            await authenticator.user(
                request_with(f"Bearer {provider.token(f'k{number}', 'RS256', provider.rsa)}")
            )
    assert await authenticator.user(request_with(f"Bearer {provider.token('rsa', 'RS256')}")) == "ada"
    assert provider.request_count == 1


async def test_concurrent_requests_wait_for_one_load_of_the_keys(provider: Provider) -> None:
    authenticator = authenticator_for(provider)
    tokens = [provider.token(kid, algorithm) for kid, algorithm in KINDS for _ in range(5)]
    assert set(
        await asyncio.gather(*(authenticator.user(request_with(f"Bearer {token}")) for token in tokens))
    ) == {"ada"}
    assert provider.request_count == 1


async def test_a_failing_provider_is_not_asked_again_at_once(provider: Provider) -> None:
    now = [100.0]
    authenticator = authenticator_for(provider, clock=lambda: now[0])
    provider.status = 500
    for number in range(20):
        with pytest.raises(Unavailable):
            await authenticator.user(
                request_with(f"Bearer {provider.token(f'k{number}', 'RS256', provider.rsa)}")
            )
    assert provider.request_count == 1
    provider.status = 200
    now[0] += FAILURE_CACHE_SECONDS
    assert await authenticator.user(request_with(f"Bearer {provider.token('rsa', 'RS256')}")) == "ada"
    assert provider.request_count == 2


async def test_a_new_key_is_found_after_the_pause(provider: Provider) -> None:
    authenticator = authenticator_for(provider, refresh_seconds=0)
    all_keys = provider.body
    provider.body = json.dumps({"keys": provider.keys()[1:]}).encode()
    good = request_with(f"Bearer {provider.token('rsa', 'RS256')}")
    with pytest.raises(Unauthenticated):
        await authenticator.user(good)
    provider.body = all_keys
    assert await authenticator.user(good) == "ada"


async def test_a_key_that_is_no_longer_published_is_rejected(provider: Provider) -> None:
    authenticator = authenticator_for(provider, cache_seconds=1e-9)
    good = request_with(f"Bearer {provider.token('rsa', 'RS256')}")
    assert await authenticator.user(good) == "ada"
    provider.body = json.dumps({"keys": provider.keys()[1:]}).encode()
    with pytest.raises(Unauthenticated):
        await authenticator.user(good)


def token_signed_with_public_key(provider: Provider) -> str:
    """Return a token whose signature uses the public key as a shared secret."""
    header = part(json.dumps({"alg": "HS256", "kid": "rsa"}).encode())
    return f"{header}.{part(json.dumps({'sub': 'ada', 'exp': time.time() + 60}).encode())}.{part(b'x' * 32)}"


def token_with_wrong_algorithm(provider: Provider, algorithm: str) -> str:
    """Return a token whose algorithm does not fit the key that it names."""
    header = part(json.dumps({"alg": algorithm, "kid": "rsa"}).encode())
    return f"{header}.{part(json.dumps({'sub': 'ada', 'exp': time.time() + 60}).encode())}.{part(b'x' * 64)}"


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda provider: provider.token("rsa", "RS256", exp=1), id="expired"),
        pytest.param(
            lambda provider: provider.token("ec", "ES256", ec.generate_private_key(ec.SECP256R1())),
            id="of another key",
        ),
        pytest.param(lambda provider: provider.token("new", "RS256", provider.rsa), id="of an unknown key"),
        pytest.param(
            lambda provider: jwt.encode({"sub": "a", "exp": 9**9}, provider.rsa, "RS256"), id="naming no key"
        ),
        pytest.param(lambda provider: provider.token("rsa", "RS512"), id="signed in another way"),
        pytest.param(token_signed_with_public_key, id="signed with the public key"),
        pytest.param(
            lambda provider: token_with_wrong_algorithm(provider, "ES256"), id="ES256 with an RSA key"
        ),
        pytest.param(
            lambda provider: token_with_wrong_algorithm(provider, "EdDSA"), id="EdDSA with an RSA key"
        ),
        pytest.param(lambda provider: token_with_wrong_algorithm(provider, "none"), id="not signed"),
        pytest.param(lambda _: "a.b.c", id="garbage"),
    ],
)
async def test_tokens_that_the_provider_did_not_sign_are_rejected(provider: Provider, make: Any) -> None:
    with pytest.raises(Unauthenticated):
        await authenticator_for(provider).user(request_with(f"Bearer {make(provider)}"))


@pytest.mark.parametrize(
    ("status", "body"),
    [
        pytest.param(500, b"", id="failing"),
        pytest.param(200, b"<html>", id="no JSON"),
        pytest.param(200, b"[]", id="no object"),
        pytest.param(200, b'{"keys": []}', id="no keys"),
        pytest.param(200, b'{"keys": 7}', id="keys that are none"),
        pytest.param(200, b"\xff\xfe", id="no text"),
        pytest.param(200, b"[" * 100_000, id="very deep"),
    ],
)
async def test_a_failing_provider_does_not_make_a_token_invalid(
    provider: Provider, status: int, body: bytes
) -> None:
    good = provider.token("rsa", "RS256")
    provider.status, provider.body = status, body
    with pytest.raises(Unavailable):
        await authenticator_for(provider).user(request_with(f"Bearer {good}"))


async def test_an_unreachable_provider_does_not_make_a_token_invalid(
    provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    keys = JwksVerifier("http://127.0.0.1:9/keys", audience=None, issuer=None)
    with pytest.raises(Unavailable):
        await Authenticator(keys, TICKET_KEY).user(request_with(f"Bearer {provider.token('rsa', 'RS256')}"))
    (line,) = [record.getMessage() for record in caplog.records if record.name == "framehook.tokens"]
    assert "AUTH_JWKS_URL" in line
    assert "Connection refused" in line
