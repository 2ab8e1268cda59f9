"""What webhooks cost beside their deliveries: the outbox within a callback, and a connection for each delivery."""

import asyncio
import datetime
import ipaddress
import ssl
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from infra.egress import EgressClient, EgressPolicy
from tests.bench.ingest.rows import postgresql_rows, sqlite_rows
from tests.bench.ingest.throughput import SECRET, Measured, Variant, attempt_key, measure
from tests.bench.measure.servers import framehook, free_port, postgresql
from tests.bench.webhooks.hostile_receivers import receiving

WITHOUT = "no outbox at all"
MODES: dict[str, list[str] | None] = {
    WITHOUT: None,
    "nobody has an endpoint": None,
    "an endpoint that wants the usual events": ["export.completed", "export.failed"],
    "an endpoint that wants progress too": ["export.completed", "export.failed", "export.progress"],
}
# What is measured against: the same service, with the one call taken out.
_TAKEN_OUT = """
from service.webhooks.outbox import Outbox
async def nothing(*_): pass
Outbox.write_in_batch = nothing
from service.cli.main import app; app()
"""
POSTS = 100


def outbox(rounds: int, callbacks: int, allowed: Mapping[str, str]) -> None:
    """Ticks of callbacks against each of the modes, in turn, on both databases."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="framehook-bench-")))
        variants = list(_variants(stack, folder, dict(allowed)))
        results: dict[tuple[str, str], list[Measured]] = {}
        for _ in range(rounds):
            for database, mode, variant, prepare in variants:
                prepare()
                results.setdefault((database, mode), []).append(measure(variant, callbacks))
    print(f"{'callbacks: server CPU µs each':58} {'CPU µs':>8} {'ratio':>6} {'requests/s':>10}")
    for (database, mode), measured in results.items():
        pairs = zip(measured, results[database, WITHOUT], strict=True)
        ratio = statistics.median(one.cpu_microseconds / base.cpu_microseconds for one, base in pairs)
        cpu = statistics.median(one.cpu_microseconds for one in measured)
        rate = statistics.median(one.requests_per_second for one in measured)
        print(f"{f'{database}: {mode}':58} {cpu:8.0f} {ratio:6.2f} {rate:10.0f}")


def _variants(
    stack: ExitStack, folder: Path, environment: dict[str, str]
) -> Iterator[tuple[str, str, Variant, Callable[[], None]]]:
    url = stack.enter_context(postgresql())
    for database in ("SQLite", "PostgreSQL"):
        shared = environment | ({"DATABASE_URL": url} if database == "PostgreSQL" else {})
        insert = postgresql_rows(url) if database == "PostgreSQL" else None
        bare_folder, whole_folder = folder / f"{database}-bare", folder / f"{database}-whole"
        bare = stack.enter_context(framehook(bare_folder, shared, secret=SECRET, code=_TAKEN_OUT))
        whole = stack.enter_context(framehook(whole_folder, shared, secret=SECRET))
        for mode, events in MODES.items():
            server, own = (bare, bare_folder) if mode == WITHOUT else (whole, whole_folder)
            rows = insert or sqlite_rows(own / "framehook.db")
            prepare = _preparing(whole.port, events)
            yield database, mode, Variant(f"{database}: {mode}", server, rows, attempt_key), prepare


def _preparing(port: int, events: list[str] | None) -> Callable[[], None]:
    """Leave the server with one endpoint that wants these events, or with none."""

    def prepare() -> None:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as client:
            for one in client.get("/api/webhooks").json()["webhooks"]:
                client.delete(f"/api/webhooks/{one['id']}").raise_for_status()
            if events:  # nobody listens there: what is measured is the writing, and a delivery that fails now and then
                body = {"url": f"http://127.0.0.1:{free_port()}/", "events": events}
                client.post("/api/webhooks", json=body).raise_for_status()

    return prepare


async def connections(rounds: int) -> None:
    """Posts one after the other: over connections of their own, as deliveries are, and over one that is kept."""
    with tempfile.TemporaryDirectory(prefix="framehook-bench-") as folder:
        serving, trusted = _certificate(Path(folder))
        results: dict[str, list[float]] = {}
        async with AsyncExitStack() as stack:
            plain = await stack.enter_async_context(receiving(_keeping))
            tls = await stack.enter_async_context(receiving(_keeping, ssl=serving))
            client = await stack.enter_async_context(httpx.AsyncClient(verify=trusted, trust_env=False))
            rules = EgressPolicy((ipaddress.ip_network("127.0.0.0/8"),), allow_http=True)
            egress = EgressClient(rules, ssl_context=trusted)
            for _ in range(rounds):
                for scheme, port in (("http", plain), ("https", tls)):
                    url = f"{scheme}://127.0.0.1:{port}/"
                    results.setdefault(f"{scheme}, a connection each", []).append(
                        await _timed(lambda url=url: egress.post(url, body=b"{}", headers={}))  # type: ignore[misc]
                    )
                    results.setdefault(f"{scheme}, one that is kept", []).append(
                        await _timed(lambda url=url: client.post(url, content=b"{}"))  # type: ignore[misc]
                    )
            await egress.close()
    print(f"{'a delivery on loopback':46} {'median ms':>10}")
    for name, took in results.items():
        print(f"{name:46} {statistics.median(took) * 1e3:10.2f}")


async def _timed(post: Callable[[], object]) -> float:
    times = []
    for _ in range(POSTS):
        began = time.perf_counter()
        await post()  # type: ignore[misc]
        times.append(time.perf_counter() - began)
    return statistics.median(times)


async def _keeping(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers one request after the other until the other side has enough."""
    while True:
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()


def _certificate(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context for 127.0.0.1, and a client's that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    built = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    built = built.serial_number(x509.random_serial_number()).not_valid_before(now - day)
    signed = (
        built.not_valid_after(now + day).add_extension(address, critical=False).sign(key, hashes.SHA256())
    )
    file = folder / "certificate.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(private + signed.public_bytes(Encoding.PEM))
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(file)
    trusted = ssl.create_default_context(cadata=signed.public_bytes(Encoding.PEM).decode())
    return serving, trusted
