"""What webhooks cost apart from deliveries: the outbox of a callback, a connection for each delivery."""

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
from tests.bench.ingest.throughput import SECRET, Sample, Variant, attempt_key, measure
from tests.bench.measure.servers import serve_framehook, start_postgresql
from tests.bench.webhooks.hostile_receivers import receive_with
from tests.support.live_server import free_port

WITHOUT = "no outbox at all"
MODES: dict[str, list[str] | None] = {
    WITHOUT: None,
    "no endpoints": None,
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
    """Measure callbacks with each of the modes, in turn, on both databases."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="framehook-bench-")))
        variants = list(_variants(stack, folder, dict(allowed)))
        results: dict[tuple[str, str], list[Sample]] = {}
        for _ in range(rounds):
            for database, mode, variant, prepare in variants:
                prepare()
                results.setdefault((database, mode), []).append(measure(variant, callbacks))
    print(f"{'callbacks: server CPU µs each':58} {'CPU µs':>8} {'ratio':>6} {'requests/s':>10}")
    for (database, mode), samples in results.items():
        pairs = zip(samples, results[database, WITHOUT], strict=True)
        ratio = statistics.median(sample.cpu_microseconds / base.cpu_microseconds for sample, base in pairs)
        cpu = statistics.median(sample.cpu_microseconds for sample in samples)
        rate = statistics.median(sample.requests_per_second for sample in samples)
        print(f"{f'{database}: {mode}':58} {cpu:8.0f} {ratio:6.2f} {rate:10.0f}")


def _variants(
    stack: ExitStack, folder: Path, environment: dict[str, str]
) -> Iterator[tuple[str, str, Variant, Callable[[], None]]]:
    url = stack.enter_context(start_postgresql())
    for database in ("SQLite", "PostgreSQL"):
        shared = environment | ({"DATABASE_URL": url} if database == "PostgreSQL" else {})
        insert = postgresql_rows(url) if database == "PostgreSQL" else None
        bare_folder, whole_folder = folder / f"{database}-bare", folder / f"{database}-whole"
        bare = stack.enter_context(serve_framehook(bare_folder, shared, secret=SECRET, code=_TAKEN_OUT))
        whole = stack.enter_context(serve_framehook(whole_folder, shared, secret=SECRET))
        for mode, events in MODES.items():
            server, own = (bare, bare_folder) if mode == WITHOUT else (whole, whole_folder)
            rows = insert or sqlite_rows(own / "framehook.db")
            prepare = _prepare_endpoint(whole.port, events)
            yield database, mode, Variant(f"{database}: {mode}", server, rows, attempt_key), prepare


def _prepare_endpoint(port: int, events: list[str] | None) -> Callable[[], None]:
    """Return a function that leaves the server with one endpoint for these events, or none."""

    def prepare() -> None:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as client:
            for cost in client.get("/api/webhooks").json()["webhooks"]:
                client.delete(f"/api/webhooks/{cost['id']}").raise_for_status()
            if events:  # no receiver listens there: writing and a failing delivery now and then are measured
                body = {"url": f"http://127.0.0.1:{free_port()}/", "events": events}
                client.post("/api/webhooks", json=body).raise_for_status()

    return prepare


async def connections(rounds: int) -> None:
    """Measure posts over a connection each, as deliveries are, and over one that is kept."""
    with tempfile.TemporaryDirectory(prefix="framehook-bench-") as folder:
        serving, trusted = _certificate(Path(folder))
        results: dict[str, list[float]] = {}
        async with AsyncExitStack() as stack:
            plain = await stack.enter_async_context(receive_with(_serve_kept_connection))
            tls = await stack.enter_async_context(receive_with(_serve_kept_connection, ssl=serving))
            client = await stack.enter_async_context(httpx.AsyncClient(verify=trusted, trust_env=False))
            rules = EgressPolicy((ipaddress.ip_network("127.0.0.0/8"),), allow_http=True)
            egress = EgressClient(rules, ssl_context=trusted)
            for _ in range(rounds):
                for scheme, port in (("http", plain), ("https", tls)):
                    url = f"{scheme}://127.0.0.1:{port}/"
                    results.setdefault(f"{scheme}, a connection each", []).append(
                        await _time_posts(lambda url=url: egress.post(url, body=b"{}", headers={}))  # type: ignore[misc]
                    )
                    results.setdefault(f"{scheme}, one that is kept", []).append(
                        await _time_posts(lambda url=url: client.post(url, content=b"{}"))  # type: ignore[misc]
                    )
            await egress.close()
    print(f"{'a delivery on loopback':46} {'median ms':>10}")
    for name, took in results.items():
        print(f"{name:46} {statistics.median(took) * 1e3:10.2f}")


async def _time_posts(post: Callable[[], object]) -> float:
    times = []
    for _ in range(POSTS):
        began = time.perf_counter()
        await post()  # type: ignore[misc]
        times.append(time.perf_counter() - began)
    return statistics.median(times)


async def _serve_kept_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer requests one after another until the client disconnects."""
    while True:
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()


def _certificate(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return a server's TLS context for 127.0.0.1, and a client's that trusts it."""
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
