"""How fast a source's frames come, and whether they come evenly."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from statistics import median, median_low

from av.packet import Packet
from av.video.stream import VideoStream

from gpu.media.timestamps import Timing

MAX_RATE = Fraction(240)
USUAL_RATE = Fraction(30)
# A rate told as 29.97 and one told as 30 are the same camera.
_APART = Fraction(1, 500)
_INDEXED, _LOOKED_AT = 20_000, 150
# How far apart from the usual a step from frame to frame may be: clocks count in milliseconds, some of them.
_STRAY_SHARE, _STRAY_SECONDS = 0.1, 0.0021


def detect_frame_rate(stream: VideoStream, packets: "Iterable[Packet[VideoStream]]") -> tuple[Fraction, bool]:
    """Frames a second, and whether they come unevenly; then it is the average.

    Headers may tell one rate of a recording whose frames come as they please, so the times are looked at: in the
    index where there is a whole one, else in the first of the stream's `packets`.
    """
    average, suggested = stream.average_rate or Fraction(0), stream.base_rate or Fraction(0)
    if not 0 < average <= MAX_RATE:
        average = suggested if 0 < suggested <= MAX_RATE else USUAL_RATE
    if abs(average - suggested) > average * _APART:
        return average, True
    uneven = _uneven(list(_indexed(stream)) or list(_looked_at(packets)), stream.time_base or Fraction(1))
    return (average, True) if uneven else (suggested, False)


def rate_from_durations(
    stream: VideoStream, opening: "Sequence[Packet[VideoStream]]", timing: Timing
) -> Fraction | None:
    """Frames a second of a stream most of whose packets have a length but no time; None of others."""
    lengths = [
        packet.duration for packet in opening if packet.duration and (timing.untimed or packet.pts is None)
    ]
    if stream.time_base is None or len(lengths) <= len(opening) // 2:
        return None
    rate = 1 / (median_low(lengths) * stream.time_base)
    return rate if rate <= MAX_RATE else None


def _indexed(stream: VideoStream) -> Iterator[int]:
    entries = stream.index_entries
    if stream.frames and len(entries) >= stream.frames:
        yield from (entry.timestamp for entry in itertools.islice(entries, _INDEXED))


def _looked_at(packets: "Iterable[Packet[VideoStream]]") -> Iterator[int]:
    yield from (packet.pts for packet in itertools.islice(packets, _LOOKED_AT) if packet.pts is not None)


def _uneven(times: list[int], time_base: Fraction) -> bool:
    """Reordered frames leave holes before the last few that were looked at: those don't count."""
    ordered = sorted(times)[:-8] or [0]
    steps = [float((after - before) * time_base) for before, after in itertools.pairwise(ordered)]
    if not steps:
        return False
    usual = median(steps)
    return any(abs(step - usual) > usual * _STRAY_SHARE + _STRAY_SECONDS for step in steps)
