"""`python -m tests.bench.video.memory`: peak memory of an export by the length of its source.

The long film is the short one, repeated by stream copy; both are framed at draft quality.
"""

import argparse
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
from av.packet import Packet
from av.stream import Stream

from tests.bench.measure.process_cost import Cost, measure_process
from tests.bench.video import footage
from tests.bench.video.workloads import spec

ROOT = Path("var") / "bench"
CROP = {"x": 656, "y": 0, "width": 607, "height": 1080}
SIZE = {"output_width": 202, "output_height": 360}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.video.memory", description="Measure peak memory."
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="of the film that the others repeat")
    parser.add_argument("--times", type=int, nargs="+", default=[1, 6, 60], help="how often each repeats it")
    arguments = parser.parse_args()
    film = footage.make_film(ROOT.absolute() / f"film-{arguments.seconds:g}.mp4", arguments.seconds)
    print(f"{'film s':>8} {'peak MB':>8} {'wall s':>8} {'cpu s':>8}")
    for times in arguments.times:
        cost = measure_framing(repeat_film(film, times))
        print(
            f"{arguments.seconds * times:8.0f} {cost.peak_megabytes:8.1f} "
            f"{cost.wall_seconds:8.1f} {cost.cpu_seconds:8.1f}"
        )


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


if __name__ == "__main__":
    main()
