"""Connections: names that change, addresses that are down, and TLS host names."""

import asyncio
import errno
import os
import resource
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from infra.egress import (
    BlockedURL,
    EgressClient,
    EgressPolicy,
    EgressResponse,
    HostLookup,
    Unreachable,
    look_up_host,
)
from infra.egress.client import TOTAL_SECONDS
from infra.egress.resolver import MAX_THREADS
from infra.egress.results import Address
from tests.bench.webhooks.hostile_receivers import Conduct, receive_with, request
from tests.infra.egress import hostile_receivers
from tests.infra.egress.certificates import Authority
from tests.infra.egress.hostile_receivers import HTTP_200, LOOPBACK, FakeResolver


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@contextmanager
def exhaust_files() -> Iterator[None]:
    """Use up all file descriptors of this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = [os.dup(0)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (files[0] + 100, hard))
    try:
        with suppress(OSError):
            while True:
                files.append(os.dup(0))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for file in files:
            os.close(file)


async def test_a_name_that_is_rebound_after_the_check_is_refused_at_the_connect() -> None:
    names = FakeResolver({"hooks.test": [["93.184.215.14"], ["127.0.0.1"]]})
    egress = EgressClient(EgressPolicy(allow_http=True), lookup=names)
    async with receive_with(hostile_receivers.healthy) as port:
        await egress.check(f"http://hooks.test:{port}/")
        with pytest.raises(BlockedURL, match="resolves to a loopback address"):
            await egress.post(f"http://hooks.test:{port}/", body=b"", headers={})
    assert names.lookups == ["hooks.test", "hooks.test"]


async def test_a_name_is_resolved_once_for_a_connection_and_again_for_the_next() -> None:
    names = FakeResolver({"hooks.test": [["127.0.0.1"], ["10.0.0.1"]]})
    egress = EgressClient(LOOPBACK, lookup=names)
    async with receive_with(hostile_receivers.healthy) as port:
        response = await egress.post(f"http://hooks.test:{port}/", body=b"", headers={})
        assert (response.status, names.lookups) == (200, ["hooks.test"])
        with pytest.raises(BlockedURL):
            await egress.post(f"http://hooks.test:{port}/", body=b"", headers={})


async def test_an_address_that_is_down_does_not_block_the_others() -> None:
    egress = EgressClient(LOOPBACK, lookup=FakeResolver({"hooks.test": [["127.0.0.2", "127.0.0.1"]]}))
    async with receive_with(hostile_receivers.healthy) as port:
        assert (await egress.post(f"http://hooks.test:{port}/", body=b"", headers={})).status == 200


@contextmanager
def hang_connections(address: str, port: int) -> Iterator[None]:
    """Let connections to an address hang: the queue of its listening socket is full."""
    with socket.socket() as listening, ExitStack() as waiting:
        listening.bind((address, port))
        listening.listen(0)
        for _ in range(3):
            client = waiting.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex((address, port))
        yield


async def test_an_address_that_drops_packets_leaves_time_for_the_others() -> None:
    names = FakeResolver({"hooks.test": [["127.0.0.2", "127.0.0.1"]]})
    egress = EgressClient(LOOPBACK, lookup=names, total_seconds=4.8)
    async with receive_with(hostile_receivers.healthy) as port:
        with hang_connections("127.0.0.2", port):
            response, error = await asyncio.gather(
                egress.post(f"http://hooks.test:{port}/", body=b"", headers={}),
                egress.post(f"http://127.0.0.2:{port}/", body=b"", headers={}),
                return_exceptions=True,
            )
    assert isinstance(response, EgressResponse)
    assert response.status == 200
    assert isinstance(error, Unreachable)
    assert (error.code, error.message) == ("connect", f"127.0.0.2 port {port} did not answer in time.")


async def test_reading_is_limited_within_tls(authority: Authority) -> None:
    egress = EgressClient(LOOPBACK, ssl_context=authority.client_context())
    async with receive_with(
        hostile_receivers.continue_storm, ssl=authority.server_context("127.0.0.1")
    ) as port:
        with pytest.raises(Unreachable, match="longer than 65536"):
            await egress.post(f"https://127.0.0.1:{port}/", body=b"", headers={})


@pytest.mark.parametrize("address", ["127.0.0.1", "hooks.test"])
async def test_tls_verifies_the_name_in_the_url(authority: Authority, address: str) -> None:
    lookups: list[str | None] = []
    heads: list[bytes] = []
    context = authority.server_context(address)
    context.sni_callback = lambda _, name, __: lookups.append(name)

    async def conduct(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await request(reader))[0])
        writer.write(HTTP_200 + b"Content-Length: 2\r\n\r\nok")

    egress = EgressClient(
        EgressPolicy(LOOPBACK.allowed_networks),
        lookup=FakeResolver({"hooks.test": [["127.0.0.1"]]}),
        ssl_context=authority.client_context(),
    )
    async with receive_with(conduct, ssl=context) as port:
        response = await egress.post(f"https://{address}:{port}/hook", body=b"{}", headers={})
    assert (response.status, response.excerpt) == (200, "ok")
    assert f"Host: {address}:{port}".encode() in heads[0].split(b"\r\n")
    assert lookups == [None if address == "127.0.0.1" else "hooks.test"]


async def get_tls_failure(
    egress: EgressClient, context: ssl.SSLContext, conduct: Conduct = hostile_receivers.healthy
) -> str:
    async with receive_with(conduct, ssl=context) as port:
        with pytest.raises(Unreachable) as error:
            await egress.post(f"https://hooks.test:{port}/", body=b"", headers={})
    assert error.value.code == "tls"
    return error.value.message


async def test_certificates_are_checked(authority: Authority, tmp_path: Path) -> None:
    names = FakeResolver({"hooks.test": [["127.0.0.1"]]})
    egress = EgressClient(LOOPBACK, lookup=names, ssl_context=authority.client_context())
    untrusting = EgressClient(LOOPBACK, lookup=names)
    assert "not valid for 'hooks.test'" in await get_tls_failure(
        egress, authority.server_context("other.test")
    )
    assert "not valid for 'hooks.test'" in await get_tls_failure(
        egress, authority.server_context("127.0.0.1")
    )
    assert "has expired" in await get_tls_failure(egress, authority.server_context("hooks.test", days=-1))
    assert "unable to get local issuer" in await get_tls_failure(
        untrusting, authority.server_context("hooks.test")
    )


async def test_a_tls_failure_is_reported_as_such(authority: Authority) -> None:
    egress = EgressClient(
        LOOPBACK,
        lookup=FakeResolver({"hooks.test": [["127.0.0.1"]]}),
        ssl_context=authority.client_context(),
    )
    old = authority.server_context("hooks.test")
    old.set_ciphers("AES128-SHA")
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    assert "handshake failed" in await get_tls_failure(egress, old)

    async def break_record(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        os.write(writer.get_extra_info("socket").fileno(), b"no record of TLS at all")
        await reader.read()

    context = authority.server_context("hooks.test")
    assert "TLS failed while waiting" in await get_tls_failure(egress, context, break_record)


async def test_a_receiver_without_tls_is_reported_as_such(authority: Authority) -> None:
    async def speak_plain_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    for conduct, code, seconds in [
        (speak_plain_http, "tls", TOTAL_SECONDS),
        (hostile_receivers.hang, "timeout", 0.5),
    ]:
        egress = EgressClient(LOOPBACK, ssl_context=authority.client_context(), total_seconds=seconds)
        async with receive_with(conduct) as port:
            with pytest.raises(Unreachable) as error:
                await egress.post(f"https://127.0.0.1:{port}/", body=b"", headers={})
        assert error.value.code == code


async def test_a_name_that_does_not_resolve_is_reported_as_dns() -> None:
    async def never_resolve(_: str) -> Sequence[Address]:
        await asyncio.Event().wait()
        return []

    table: list[tuple[HostLookup, str]] = [
        (FakeResolver(), "hooks.test could not be resolved: no such name."),
        (FakeResolver({"hooks.test": [[]]}), "hooks.test has no address."),
        (never_resolve, "hooks.test could not be resolved within 0.3 s."),
    ]
    for resolve, message in table:
        egress = EgressClient(EgressPolicy(), lookup=resolve, total_seconds=0.9)
        for call in (
            egress.check("https://hooks.test/"),
            egress.post("https://hooks.test/", body=b"", headers={}),
        ):
            with pytest.raises(Unreachable) as error:
                await call
            assert (error.value.code, error.value.message) == ("dns", message)


async def test_the_system_resolves_names() -> None:
    assert {str(address) for address in await look_up_host("localhost")} <= {"127.0.0.1", "::1"}
    assert [str(address) for address in await look_up_host("127.1")] == ["127.0.0.1"]
    with pytest.raises(OSError, match=r"\w"):
        await look_up_host("nowhere.invalid")
    with pytest.raises(OSError, match="no name"):
        await look_up_host("a" * 64 + ".invalid")


async def test_a_machine_without_free_sockets_reports_a_local_fault() -> None:
    async def fail_lookup(_: str) -> Sequence[Address]:
        raise OSError(errno.EMFILE, "Too many open files")

    with pytest.raises(Unreachable) as error:
        await EgressClient(EgressPolicy(), lookup=fail_lookup).check("https://hooks.test/")
    assert error.value.code == "local"
    egress = EgressClient(LOOPBACK)
    async with receive_with(hostile_receivers.healthy) as port:
        with exhaust_files(), pytest.raises(Unreachable) as error:
            await egress.post(f"http://127.0.0.1:{port}/", body=b"", headers={})
        assert error.value.code == "local"
        assert (await egress.post(f"http://127.0.0.1:{port}/", body=b"", headers={})).status == 200


async def test_names_that_never_resolve_use_a_limited_number_of_threads() -> None:
    over = threading.Event()
    waiting = [threading.Thread(target=over.wait, daemon=True) for _ in range(MAX_THREADS)]
    try:
        for thread in waiting:
            thread.start()
        with pytest.raises(Unreachable, match="cannot resolve names") as error:
            await EgressClient(EgressPolicy()).check("https://hooks.test/")
        assert error.value.code == "local"
    finally:
        over.set()
        for thread in waiting:
            thread.join()
