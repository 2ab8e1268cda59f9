"""How late states are with thousands of readers of one process: of one export, and of many that change each second.

The readers are in a process of their own. One process may hold half as many connections as it may open files.
"""

import itertools
import time
from concurrent.futures import ThreadPoolExecutor

from tests.bench.benchmark import Benchmark, Figure, Options, Size
from tests.bench.fanout.peers import Peer, run_framehook
from tests.bench.fanout.reader_process import Opening, make_stamp
from tests.bench.fanout.readers import ReaderProcess, run_readers
from tests.bench.measure.samples import Samples, percentile

PUBLISHERS = 8
PER_ADDRESS = 5_000
"""Readers from one address: it has some 28,000 ports."""


def open_readers(readers: ReaderProcess, peers: list[Peer], count: int) -> None:
    """Open so many event streams, shared evenly among the exports."""
    for peer in peers:
        peer.publish(make_stamp())
    turns = itertools.islice(itertools.cycle(peers), count)
    readers.open(
        [
            Opening(peer.server.port, f"127.0.0.{2 + number // PER_ADDRESS}", peer.events, b"sent-at-")
            for number, peer in enumerate(turns)
        ]
    )


def measure_one_export(count: int, messages: int) -> list[float]:
    """Return the milliseconds until the last of all readers of one export has each message."""
    with run_framehook(1) as (peer,), run_readers() as readers:
        open_readers(readers, [peer], count)
        last = []
        for _ in range(messages):
            stamp = make_stamp()
            readers.start_waiting(stamp)
            peer.publish(stamp)
            last.append(max(readers.finish()) * 1e3)
    return last


def measure_many_exports(count: int, exports: int, seconds: int) -> tuple[list[float], float]:
    """Change each export once a second; return the milliseconds of each delivery, and the share of a core."""
    with run_framehook(exports) as peers, run_readers() as readers:
        open_readers(readers, peers, count)
        readers.start_collecting(seconds + 1)
        cpu, began = peers[0].server.cpu_seconds(), time.perf_counter()
        with ThreadPoolExecutor(PUBLISHERS) as publishers:
            for number in range(exports * seconds):
                time.sleep(max(0.0, began + number / exports - time.perf_counter()))
                publishers.submit(lambda peer: peer.publish(make_stamp()), peers[number % exports])
        share = (peers[0].server.cpu_seconds() - cpu) / (time.perf_counter() - began)
        latencies = [latency * 1e3 for latency in readers.finish()]
    return latencies, share


def run(options: Options) -> list[Figure]:
    """Measure both in turn."""
    samples, sizes = Samples(), options.sizes
    for _ in range(options.rounds):
        name = f"{sizes['readers']:,} readers of one export"
        last = measure_one_export(sizes["readers"], sizes["messages"])
        samples.add(name, "last reader, median", percentile(last, 50), "ms")
        samples.add(name, "last reader, worst", max(last), "ms")
        name = f"{sizes['spread']:,} readers of {sizes['exports']} exports, each changed once a second"
        latencies, share = measure_many_exports(sizes["spread"], sizes["exports"], sizes["seconds"])
        samples.add(name, "median", percentile(latencies, 50), "ms")
        samples.add(name, "p99", percentile(latencies, 99), "ms")
        samples.add(name, "deliveries", len(latencies) / sizes["seconds"], "1/s")
        samples.add(name, "server CPU", share * 100, "%")
    return samples.to_figures()


BENCHMARK = Benchmark(
    description="Event streams of one server process: how late states reach thousands of readers.",
    run=run,
    rounds=3,
    sizes={
        "readers": Size(5_000, smoke=10),
        "messages": Size(20, smoke=2),
        "spread": Size(9_600, smoke=10),
        "exports": Size(96, smoke=2),
        "seconds": Size(8, smoke=1),
    },
)
