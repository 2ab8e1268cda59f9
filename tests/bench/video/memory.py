"""`python -m tests.bench.video.memory`: the most memory that an export takes, by the length of its source.

The long film is the short one, joined to itself by stream copy; both are framed at draft quality.
"""

import argparse
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
from av.packet import Packet
from av.stream import Stream

from tests.bench.measure.process_cost import Cost, measured
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
    asked = parser.parse_args()
    film = footage.make(ROOT.absolute() / f"film-{asked.seconds:g}.mp4", asked.seconds)
    print(f"{'film s':>8} {'peak MB':>8} {'wall s':>8} {'cpu s':>8}")
    for times in asked.times:
        cost = framed(repeated(film, times))
        print(
            f"{asked.seconds * times:8.0f} {cost.peak_megabytes:8.1f} {cost.wall_seconds:8.1f} {cost.cpu_seconds:8.1f}"
        )


def framed(film: Path) -> Cost:
    """What a framing of the whole film takes."""
    keyframes = [CROP | {"time": 0}, CROP | {"time": 5, "x": 1_200}]
    config = {"input_key": "film", "quality": "draft", "keyframes": keyframes} | SIZE
    asked = spec("framing", config, film, film.with_name("framed.mp4"))
    return measured((sys.executable, "-m", "gpu", "-"), asked)


def repeated(film: Path, times: int) -> Path:
    """The film so many times over, without being encoded anew."""
    longer = film.with_name(f"{film.stem}-x{times}.mp4")
    with av.open(str(longer), "w", format="mp4") as target:
        with av.open(str(film)) as source:
            streams = [target.add_stream_from_template(stream) for stream in source.streams]
            lasting = Fraction(source.duration or 0, av.time_base)
        reached: dict[int, int] = {}
        for number in range(times):
            for packet in _moved(film, number * lasting, reached):
                packet.stream = streams[packet.stream_index]
                target.mux(packet)
    return longer


def _moved(film: Path, by: Fraction, reached: dict[int, int]) -> "Iterator[Packet[Stream]]":
    """Every packet so much later; but none that lies before what its stream has `reached`.

    Sound begins a little before the picture, where that of the turn before still lasts.
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
