"""Peak memory of an export by the length of its source.

The long film is the short one, repeated by stream copy; both are framed at draft quality.
"""

import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
from av.packet import Packet
from av.stream import Stream

from tests.bench.benchmark import Benchmark, Figure, Options, Size
from tests.bench.measure.process_cost import Cost, add_cost, measure_process
from tests.bench.measure.samples import Samples, alternate
from tests.bench.video.peers import prepare_film
from tests.bench.video.workloads import spec

CROP = {"x": 656, "y": 0, "width": 607, "height": 1080}
SIZE = {"output_width": 202, "output_height": 360}


def run(options: Options) -> list[Figure]:
    """Measure the framing of a short film, and of the same repeated."""
    seconds, longest = options.sizes["seconds"], options.sizes["repetitions"]
    film, samples = prepare_film(seconds), Samples()
    films = {times: repeat_film(film, times) for times in sorted({1, max(1, longest // 10), longest})}
    for times, longer in alternate(list(films.items()), options.rounds):
        add_cost(samples, f"{seconds * times} s", measure_framing(longer))
    for longer in films.values():
        longer.unlink()
    return samples.to_figures()


def measure_framing(film: Path) -> Cost:
    """Measure a framing of the whole film."""
    keyframes = [CROP | {"time": 0}, CROP | {"time": 5, "x": 1_200}]
    config = {"input_key": "film", "quality": "draft", "keyframes": keyframes} | SIZE
    arguments = spec("framing", config, film, film.with_name("measure_framing.mp4"))
    return measure_process((sys.executable, "-m", "gpu", "-"), arguments)


def repeat_film(film: Path, times: int) -> Path:
    """Repeat the film so many times by stream copy."""
    longer = film.with_name(f"{film.stem}-x{times}.mp4")
    with av.open(str(longer), "w", format="mp4") as target:
        with av.open(str(film)) as source:
            streams = [target.add_stream_from_template(stream) for stream in source.streams]
            lasting = Fraction(source.duration or 0, av.time_base)
        reached: dict[int, int] = {}
        for number in range(times):
            for packet in _shift_packets(film, number * lasting, reached):
                packet.stream = streams[packet.stream_index]
                target.mux(packet)
    return longer


def _shift_packets(film: Path, by: Fraction, reached: dict[int, int]) -> "Iterator[Packet[Stream]]":
    """Yield packets moved in time, without those before what their stream has `reached`.

    Sound starts a little before the picture, where the sound of the previous repetition still lasts.
    """
    with av.open(str(film)) as source:
        for packet in source.demux():
            if packet.dts is None or packet.pts is None:  # the empty ones that end a stream
                continue
            shift = round(by / packet.time_base)
            packet.dts, packet.pts = moved = (packet.dts + shift, packet.pts + shift)
            if packet.stream_index not in reached or moved[0] > reached[packet.stream_index]:
                reached[packet.stream_index] = moved[0]
                yield packet


BENCHMARK = Benchmark(
    description="Peak memory of a framing by the length of its source.",
    run=run,
    rounds=1,
    sizes={"seconds": Size(10, smoke=1), "repetitions": Size(60, smoke=2)},
)
