"""The check of the identity provider knows keys that can be used."""

from pathlib import Path

import pytest

from service.doctor.identity import check_identity
from service.startup.findings import Level
from tests.service.api.test_jwks import run_provider
from tests.support.live_server import settings_on

HMAC_KEY = b'{"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "a", "alg": "HS256"}]}'


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (200, None, "3 keys"),
        (404, None, "404"),
        (200, b"<html>", "can't be loaded"),
        (200, b'{"keys": []}', "can't be loaded"),
        (200, HMAC_KEY, "no key there is for RS256"),
    ],
)
async def test_the_keys_of_the_provider_are_loaded(
    data_dir: Path, status: int, body: bytes | None, said: str
) -> None:
    with run_provider() as provider:
        provider.status, provider.body = status, provider.body if body is None else body
        (finding,) = await check_identity(settings_on(1, data_dir, auth_jwks_url=provider.url))
    assert (said in finding.message, finding.level) == (True, Level.OK if "3 keys" in said else Level.FAIL)


async def test_a_service_without_a_provider_has_no_such_check(data_dir: Path) -> None:
    assert await check_identity(settings_on(1, data_dir)) == []
