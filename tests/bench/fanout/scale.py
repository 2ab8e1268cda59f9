"""How late states are with thousands of readers: of one export, and of many that change each second.

The readers are in a process of their own for each server. How many connections a process may hold is limited by the
files that it may open, so the largest number is shared by two replicas.
"""

import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from tests.bench.benchmark import Benchmark, Figure, Options, Size
from tests.bench.fanout.peers import Peer, run_framehook, run_replicas
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


def measure_many_exports(replicas: list[list[Peer]], count: int, seconds: int) -> tuple[list[float], float]:
    """Change each export once a second; return the milliseconds of each delivery, and the share of a core.

    Each replica has its share of the readers of every export, and of the callbacks.
    """
    exports = len(replicas[0])
    with ExitStack() as stack:
        readers = [stack.enter_context(run_readers()) for _ in replicas]
        for process, peers in zip(readers, replicas, strict=True):
            open_readers(process, peers, count // len(replicas))
        for process in readers:
            process.start_collecting(seconds + 1)
        cpu, began = _read_cpu(replicas), time.perf_counter()
        with ThreadPoolExecutor(PUBLISHERS) as publishers:
            for number in range(exports * seconds):
                time.sleep(max(0.0, began + number / exports - time.perf_counter()))
                export = number % exports
                peer = replicas[export % len(replicas)][export]
                publishers.submit(lambda peer: peer.publish(make_stamp()), peer)
        share = (_read_cpu(replicas) - cpu) / (time.perf_counter() - began)
        latencies = [latency * 1e3 for process in readers for latency in process.finish()]
    return latencies, share


def _read_cpu(replicas: list[list[Peer]]) -> float:
    return sum(peers[0].server.cpu_seconds() for peers in replicas)


def run(options: Options) -> list[Figure]:
    """Measure all in turn."""
    samples, sizes = Samples(), options.sizes
    for _ in range(options.rounds):
        name = f"{sizes['readers']:,} readers of one export"
        last = measure_one_export(sizes["readers"], sizes["messages"])
        samples.add(name, "last reader, median", percentile(last, 50), "ms")
        samples.add(name, "last reader, worst", max(last), "ms")
        with run_framehook(sizes["exports"]) as peers:
            _add_many(samples, [peers], sizes["spread"], sizes["seconds"])
        with run_replicas(sizes["shared exports"]) as replicas:
            _add_many(samples, replicas, sizes["shared"], sizes["seconds"])
    return samples.to_figures()


def _add_many(samples: Samples, replicas: list[list[Peer]], count: int, seconds: int) -> None:
    name = f"{count:,} readers of {len(replicas[0])} exports, each changed once a second"
    if len(replicas) > 1:
        name += f", on {len(replicas)} replicas"
    latencies, share = measure_many_exports(replicas, count, seconds)
    samples.add(name, "median", percentile(latencies, 50), "ms")
    samples.add(name, "p99", percentile(latencies, 99), "ms")
    samples.add(name, "deliveries", len(latencies) / seconds, "1/s")
    samples.add(name, "server CPU", share * 100, "%")


BENCHMARK = Benchmark(
    description="Event streams: how late states reach thousands of readers.",
    run=run,
    rounds=3,
    sizes={
        "readers": Size(5_000, smoke=10),
        "messages": Size(20, smoke=2),
        "spread": Size(9_600, smoke=10),
        "exports": Size(96, smoke=2),
        "shared": Size(32_000, smoke=10),
        "shared exports": Size(320, smoke=2),
        "seconds": Size(8, smoke=1),
    },
)
