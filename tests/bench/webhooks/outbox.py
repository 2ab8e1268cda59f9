"""What the outbox adds to the CPU time of a callback."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx

from tests.bench.benchmark import Benchmark, Figure, Options, Size
from tests.bench.ingest.rows import postgresql_rows, sqlite_rows
from tests.bench.ingest.throughput import Variant, attempt_key, measure
from tests.bench.measure.samples import Samples, alternate
from tests.bench.measure.servers import serve_framehook, start_postgresql
from tests.bench.webhooks.latency import ALLOWED
from tests.support.live_server import free_port

DATABASES = ("SQLite", "PostgreSQL")
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


def run(options: Options) -> list[Figure]:
    """Measure callbacks with each of the modes, in turn, on both databases."""
    samples = Samples()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="framehook-bench-")))
        variants = list(_variants(stack, folder))
        for _, variant, prepare in alternate(variants, options.rounds):
            prepare()
            sample = measure(variant, options.sizes["callbacks"])
            samples.add(variant.name, "server CPU each", sample.cpu_microseconds, "µs")
            samples.add(variant.name, "requests", sample.requests_per_second, "1/s")
    for database in DATABASES:
        names = [variant.name for of, variant, _ in variants if of == database]
        samples.add_ratios("server CPU each", base=names[0], name="CPU, ratio", among=names)
    return samples.to_figures()


def _variants(stack: ExitStack, folder: Path) -> Iterator[tuple[str, Variant, Callable[[], None]]]:
    """Yield each variant with its database and what to call before it is measured."""
    url = stack.enter_context(start_postgresql())
    for database in DATABASES:
        shared = ALLOWED | ({"DATABASE_URL": url} if database == "PostgreSQL" else {})
        insert = postgresql_rows(url) if database == "PostgreSQL" else None
        bare_folder, whole_folder = folder / f"{database}-bare", folder / f"{database}-whole"
        bare = stack.enter_context(serve_framehook(bare_folder, shared, code=_TAKEN_OUT))
        whole = stack.enter_context(serve_framehook(whole_folder, shared))
        for mode, events in MODES.items():
            server, own = (bare, bare_folder) if mode == WITHOUT else (whole, whole_folder)
            rows = insert or sqlite_rows(own / "framehook.db")
            prepare = _prepare_endpoint(whole.port, events)
            yield database, Variant(f"{database}: {mode}", server, rows, attempt_key), prepare


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


BENCHMARK = Benchmark(
    description="Callbacks with the outbox of webhooks, by what endpoints want, beside the same service without the "
    "outbox; deliveries are included.",
    run=run,
    sizes={"callbacks": Size(10_000, smoke=64)},
)
