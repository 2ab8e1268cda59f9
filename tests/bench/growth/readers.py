"""What a stream and a state cost in the hub by the number of streams that are open, without sockets."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from callbacks.envelope import EventType
from service.fanout.hub import Hub
from service.fanout.publications import Publication
from service.fanout.stream_slots import StreamSlots
from service.fanout.subscribers import Subscriber
from tests.bench.benchmark import Benchmark, Figure, Options, Size
from tests.bench.growth.sizes import add_growth, list_sizes
from tests.bench.measure.samples import Samples

TIMES = 100
SHARED, ALONE = "watched by all", "watched alone"
LOOK = "the memory of these alone: each is looked at, and nothing done"


@dataclass
class Streams:
    """A hub with open streams, and the limits of streams."""

    hub: Hub
    slots: StreamSlots
    sharing: list[Subscriber] = field(default_factory=list)
    sequence: int = 0

    def open_and_close(self) -> None:
        self.slots.try_acquire(ALONE)
        subscriber = Subscriber()
        self.hub.subscribe(subscriber, job_id=ALONE)
        self.hub.unsubscribe(subscriber, job_id=ALONE)
        self.slots.release(ALONE)

    def publish(self, job_id: str) -> None:
        self.sequence += 1
        self.hub.publish(Publication(job_id, job_id, self.sequence, EventType.PROGRESS, b"{}"))

    def publish_to_one(self) -> None:
        self.publish("export-0")

    def publish_to_all(self) -> None:
        self.publish(SHARED)

    def look_at_all(self) -> None:
        """Read what publishing reads of each subscriber, and do nothing."""
        for subscriber in self.sharing:
            subscriber._pending.get(SHARED)
            subscriber._passed.get(SHARED)


def open_streams(count: int) -> Streams:
    """Open streams of a user each, half of them of the same export."""
    streams = Streams(Hub(), StreamSlots(per_user=1, total=count + 1))
    for number in range(count):
        subscriber = Subscriber()
        if number % 2:
            streams.sharing.append(subscriber)
        streams.hub.subscribe(subscriber, job_id=SHARED if number % 2 else f"export-{number}")
        streams.slots.try_acquire(f"user-{number}")
    return streams


def time_work(work: Callable[[], None], times: int) -> float:
    """Return the CPU microseconds of one call, the quickest of three rounds of calls."""
    best = float("inf")
    for _ in range(3):
        began = time.thread_time()
        for _ in range(times):
            work()
        best = min(best, time.thread_time() - began)
    return best / times * 1e6


def run(options: Options) -> list[Figure]:
    """Measure hubs of several sizes in turn."""
    samples = Samples()
    hubs = {size: open_streams(size) for size in list_sizes(options.sizes["readers"])}
    for _ in range(options.rounds):
        opened, alone, each, look = ({}, {}, {}, {})
        for size, streams in hubs.items():
            opened[size] = time_work(streams.open_and_close, TIMES)
            alone[size] = time_work(streams.publish_to_one, TIMES)
            each[size] = time_work(streams.publish_to_all, 1) / (size // 2)
            look[size] = time_work(streams.look_at_all, 1) / (size // 2)
        add_growth(samples, "a stream opens and closes", opened)
        add_growth(samples, "a state that one of them reads", alone)
        add_growth(samples, "a state that half of them read, each", each)
        add_growth(samples, LOOK, look)
    return samples.to_figures()


BENCHMARK = Benchmark(
    description="CPU time in the hub by the number of open streams, each of a user of its own; without sockets.",
    run=run,
    sizes={"readers": Size(10_000, smoke=10)},
)
