"""All that calls over TLS trusts the authority in SSL_CERT_FILE, and without it refuses its certificates."""

import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest

from callbacks.probe import ProbeTarget, post_probe
from callbacks.transport import CallbackTransport
from framehook import AsyncClient, Client, Unreachable
from gpu.transfer.http_client import create_http_client
from infra.storage.client import Bucket, S3Config
from infra.storage.errors import StorageError
from service.cli.errors import describe_error
from service.doctor.streams import check_streams
from service.startup.findings import Level
from service.workers.process import worker_environment
from tests.callbacks.scripted_server import KEY
from tests.infra.egress.certificates import Authority
from tests.support.live_server import STREAM, ScriptedResponse, serve_script, settings_on

Call = Callable[[str, Path], Awaitable[bool]]
ANSWER = ScriptedResponse(headers=STREAM | {"Content-Length": "4"}, body=b"<a/>")


async def watch_with_doctor(url: str, data_dir: Path) -> bool:
    return (await check_streams(settings_on(1, data_dir, public_url=url), None)).level is Level.OK


async def post_callback(url: str, _: Path) -> bool:
    with CallbackTransport(f"{url}/api/callbacks/job-1", KEY, now=time.time) as transport:
        return transport.post("msg_1", b"{}").reason == "200"


async def post_from_runs(url: str, _: Path) -> bool:
    return post_probe(ProbeTarget.create(url, b"m" * 32, "job-1")).status is not None


async def transfer(url: str, _: Path) -> bool:
    with create_http_client() as client:
        try:
            return client.get(url).is_success
        except httpx.ConnectError:
            return False


async def ask_bucket(url: str, _: Path) -> bool:
    try:
        return bool(
            await Bucket(S3Config(url, "key", "secret", "videos"), attempts=1).call(
                "delete_object", Key="probe"
            )
        )
    except StorageError:
        return False


async def ask_with_client(url: str, _: Path) -> bool:
    with Client(url, retries=0) as client:
        return client.is_ready()


async def ask_with_async_client(url: str, _: Path) -> bool:
    async with AsyncClient(url, retries=0) as client:
        return await client.is_ready()


CALLS: list[Call] = [
    watch_with_doctor,
    post_callback,
    post_from_runs,
    transfer,
    ask_bucket,
    ask_with_client,
    ask_with_async_client,
]


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    return Authority(tmp_path)


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
async def test_only_an_authority_that_is_named_is_trusted(
    call: Call, authority: Authority, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve_script(ANSWER, tls=authority.server_context("127.0.0.1")) as script:
        assert not await call(script.url, data_dir)
        monkeypatch.setenv("SSL_CERT_FILE", "")  # as a line without a value sets it
        assert not await call(script.url, data_dir)
        assert script.requests == []
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.write_certificate()))
        assert await call(script.url, data_dir)
    assert len(script.requests) == 1


async def test_a_certificate_that_is_not_trusted_is_named_with_what_to_do(
    authority: Authority, data_dir: Path
) -> None:
    with serve_script(ANSWER, tls=authority.server_context("127.0.0.1")) as script:
        with Client(script.url, retries=0) as client, pytest.raises(Unreachable) as raised:
            client.get("job-1")
        finding = await check_streams(settings_on(1, data_dir, public_url=script.url), None)
    sentence = describe_error(raised.value)
    assert "its certificate is not trusted (unable to get local issuer certificate)" in sentence
    assert ("SSL_CERT_FILE" in sentence, "framehook serve" in sentence) == (True, False)
    assert "certificate verify failed" in finding.message
    assert ("SSL_CERT_FILE" in finding.message, "start the service" in finding.message) == (True, False)


def test_a_run_trusts_what_the_service_trusts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/etc/authority.pem")
    assert worker_environment()["SSL_CERT_FILE"] == "/etc/authority.pem"
