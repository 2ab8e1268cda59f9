"""What it costs to send one export's states to many readers, beside nginx with nchan and the usual code.

Each round starts new servers, so that the memory of one round is not reused in the next. A message is published
when every reader has the one before, so that none is left out.
"""

import shutil
import time
from dataclasses import dataclass

from tests.bench.benchmark import Benchmark, Figure, Options, Size
from tests.bench.fanout.peers import NCHAN_MODULE, PEERS, Peer
from tests.bench.fanout.reader_process import Opening, make_stamp
from tests.bench.fanout.readers import ReaderProcess, run_readers
from tests.bench.measure.samples import Samples, alternate, percentile

NCHAN = "nginx + nchan"
WARM_READERS, WARM_MESSAGES = 20, 20
SETTLE_SECONDS = 0.3


@dataclass(frozen=True)
class Sample:
    """One round of one server and transport."""

    open_seconds: float
    kibibytes_each: float
    cpu_microseconds: float
    deliveries_per_second: float
    last_milliseconds: float


def measure(peer: Peer, readers: ReaderProcess, request: bytes, count: int, messages: int) -> Sample:
    """Open readers, send messages to all of them, and close them."""
    opening = Opening(peer.server.port, "127.0.0.1", request, b"sent-at-")
    peer.publish(make_stamp())
    readers.open([opening] * WARM_READERS)
    for _ in range(WARM_MESSAGES):
        _send(peer, readers)
    readers.close_streams()
    time.sleep(SETTLE_SECONDS)
    memory = peer.server.rss_bytes()
    seconds = readers.open([opening] * count)
    time.sleep(SETTLE_SECONDS)
    memory = peer.server.rss_bytes() - memory
    cpu, began = peer.server.cpu_seconds(), time.perf_counter()
    last = [max(_send(peer, readers)) for _ in range(messages)]
    took = time.perf_counter() - began
    cpu = peer.server.cpu_seconds() - cpu
    readers.close_streams()
    deliveries = count * messages
    return Sample(
        seconds,
        memory / count / 1024,
        cpu / deliveries * 1e6,
        deliveries / took,
        percentile(last, 50) * 1e3,
    )


def _send(peer: Peer, readers: ReaderProcess) -> list[float]:
    """Publish a message, and return how many seconds it took to each reader."""
    stamp = make_stamp()
    readers.start_waiting(stamp)
    peer.publish(stamp)
    seconds: list[float] = readers.finish()
    return seconds


def run(options: Options) -> list[Figure]:
    """Measure each server on both transports in turn."""
    samples = Samples()
    names = list(PEERS)
    if shutil.which("nginx") is None or not NCHAN_MODULE.exists():
        names.remove(NCHAN)
        samples.add_absent(NCHAN, "the packages nginx and libnginx-mod-nchan are not installed")
    for name in alternate(names, options.rounds):
        for transport in ("SSE", "WebSocket"):
            with PEERS[name]() as peer, run_readers() as readers:
                request = peer.events if transport == "SSE" else peer.socket
                sample = measure(peer, readers, request, options.sizes["readers"], options.sizes["messages"])
            samples.add(name, f"{transport}: CPU a delivery", sample.cpu_microseconds, "µs")
            samples.add(name, f"{transport}: deliveries", sample.deliveries_per_second, "1/s")
            samples.add(name, f"{transport}: last reader", sample.last_milliseconds, "ms")
            samples.add(name, f"{transport}: memory a reader", sample.kibibytes_each, "KiB")
            samples.add(name, f"{transport}: all opened", sample.open_seconds, "s")
    for transport in ("SSE", "WebSocket"):
        samples.add_ratios(f"{transport}: CPU a delivery", base=NCHAN, name=f"{transport}: CPU, ratio")
    return samples.to_figures()


BENCHMARK = Benchmark(
    description="Readers of one export, one server process: CPU time of the server for each delivery, memory for each "
    "reader, and the time to open all, beside nginx with nchan and the usual code.",
    run=run,
    sizes={"readers": Size(1_000, smoke=10), "messages": Size(50, smoke=2)},
)
