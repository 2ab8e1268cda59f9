"""What a connection for each delivery costs, beside one that is kept."""

import asyncio
import datetime
import ipaddress
import ssl
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from infra.egress import EgressClient, EgressPolicy
from tests.bench.benchmark import Benchmark, Figure, Options, Size
from tests.bench.measure.samples import Samples, alternate, percentile
from tests.bench.webhooks.hostile_receivers import receive_with

Post = Callable[[], Awaitable[object]]


async def measure(options: Options) -> list[Figure]:
    """Measure posts over a connection each, as deliveries are, and over one that is kept, with and without TLS."""
    samples = Samples()
    with tempfile.TemporaryDirectory(prefix="framehook-bench-") as folder:
        serving, trusted = _certificate(Path(folder))
        async with AsyncExitStack() as stack:
            plain = await stack.enter_async_context(receive_with(_serve_kept_connection))
            tls = await stack.enter_async_context(receive_with(_serve_kept_connection, ssl=serving))
            client = await stack.enter_async_context(httpx.AsyncClient(verify=trusted, trust_env=False))
            rules = EgressPolicy((ipaddress.ip_network("127.0.0.0/8"),), allow_http=True)
            egress = EgressClient(rules, ssl_context=trusted)
            posts: dict[str, Post] = {}
            for scheme, port in (("http", plain), ("https", tls)):
                url = f"{scheme}://127.0.0.1:{port}/"
                posts[f"{scheme}, one that is kept"] = partial(client.post, url, content=b"{}")
                posts[f"{scheme}, a connection each"] = partial(egress.post, url, body=b"{}", headers={})
            for variant, post in alternate(list(posts.items()), options.rounds):
                began = time.process_time()
                samples.add(variant, "median", await _time_posts(post, options.sizes["posts"]) * 1e3, "ms")
                cpu = (time.process_time() - began) / options.sizes["posts"]
                samples.add(variant, "CPU each, both sides", cpu * 1e3, "ms")
            await egress.close()
    for scheme in ("http", "https"):
        names = [name for name in posts if name.startswith(f"{scheme},")]
        samples.add_ratios("CPU each, both sides", base=names[0], name="CPU, ratio", among=names)
    return samples.to_figures()


async def _time_posts(post: Post, count: int) -> float:
    times = []
    for _ in range(count):
        began = time.perf_counter()
        await post()
        times.append(time.perf_counter() - began)
    return percentile(times, 50)


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


BENCHMARK = Benchmark(
    description="A post on loopback over a connection of its own, as deliveries are sent, beside one that is kept.",
    run=lambda options: asyncio.run(measure(options)),
    sizes={"posts": Size(100, smoke=2)},
)
