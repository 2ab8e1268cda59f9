"""Recordings joined end to end, whose clock begins anew, leaps on or leaps back: found in the file, and closed up.

A transport stream may be cut and put together anywhere, so all of it is read once. A part begins where the time of
decoding steps back, or every stream leaps on, as FFmpeg's own `dts_delta_threshold` has it; its picture follows on the
last picture of the part before. Parts are told apart by where their bytes lie, for their times may be the same.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, cast

from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

Kind = TypeVar("Kind", VideoStream, AudioStream)

_STEP_BACK_SECONDS, _LEAP_SECONDS = 0.1, 10.0
_KEYFRAMES_APART_SECONDS = 1.0
_LONGEST_STEP_SECONDS = 1.0
# Less than this is a difference in how tracks are cut: the sound's tail is no reason to hold the last picture.
_HELD_SECONDS = 1.0
_TS_DISCONT = 0x0200  # AVFMT_TS_DISCONT


@dataclass(frozen=True)
class Part:
    """A stretch of a file from a byte on, and the seconds that its times are moved by."""

    position: int
    shift: float


@dataclass(frozen=True)
class Scan:
    """What a file's packets tell of its whole length; times are on the container's clock, with every break closed up.

    `keyframes` are times of the picture and where in the file they lie, in files of several parts. `seekable` says that
    every picture is in a packet of the container's own, with its own time: FFmpeg guesses the others' times from those
    before, and after a seek it guesses wrong.
    """

    picture_end: float
    sound_end: float
    parts: tuple[Part, ...]
    keyframes: tuple[tuple[float, int], ...] = ()
    seekable: bool = True
    picture_start: float = 0.0
    last_picture: int = 0  # where in the file it lies
    rules_times: bool = True  # whether a film's length goes by this, and not by the file's headers

    @property
    def breaks(self) -> int:
        return len(self.parts) - 1

    def read_through(self) -> "Scan":
        """The same for a container in which a byte can't be sought: with breaks it is read from its beginning."""
        has_breaks = self.breaks > 0
        return replace(self, keyframes=(), seekable=not has_breaks, rules_times=has_breaks)

    def position(self, time: float) -> int:
        """Where to read from for what is shown at a time."""
        number = bisect_right(self.keyframes, time, key=lambda keyframe: keyframe[0])
        return self.keyframes[number - 1][1] if number else 0


def choose_film_end(picture_end: float, film_end: float) -> float:
    """The film's end where the picture ends long before it, else the picture's."""
    return film_end if film_end > picture_end + _HELD_SECONDS else picture_end


def is_concatenable(container: InputContainer) -> bool:
    """Whether files of this kind are made to be put together byte by byte."""
    return bool(container.format.flags & _TS_DISCONT)


def describe_breaks(scan: Scan | None) -> tuple[str, ...]:
    """Sentences for the timeline."""
    if scan is None or not scan.breaks:
        return ()
    count = "a break" if scan.breaks == 1 else f"{scan.breaks} breaks"
    return (f"The source's clock has {count}; the parts follow one another without a gap.",)


def close_breaks(packets: "Iterable[Packet[Kind]]", scan: Scan | None) -> "Iterator[Packet[Kind]]":
    """Move the times of packets so that the clock runs on through the whole file."""
    if scan is None or not scan.breaks:
        yield from packets
        return
    shift = 0.0
    for found in packets:
        packet = found
        if found.pos is not None:
            part = _part_at(scan.parts, found.pos)
            shift = part.shift
            packet = _unhidden(found) if found.is_discard and part is not scan.parts[0] else found
        ticks = round(shift / packet.time_base) if packet.time_base else 0
        packet.pts = None if packet.pts is None else packet.pts + ticks
        packet.dts = None if packet.dts is None else packet.dts + ticks
        yield packet


def _unhidden(packet: "Packet[Kind]") -> "Packet[Kind]":
    """The same packet to be shown: FFmpeg hides fragments of MP4 whose times step back."""
    shown = cast("Packet[Kind]", Packet(bytes(packet)))
    shown.stream, shown.time_base = packet.stream, packet.time_base
    shown.pts, shown.dts, shown.duration = packet.pts, packet.dts, packet.duration
    shown.is_keyframe = packet.is_keyframe
    return shown


def _part_at(parts: Sequence[Part], position: int) -> Part:
    return parts[bisect_right(parts, position, key=lambda part: part.position) - 1]


def scan_packets(packets: "Iterable[Packet[Any]]", picture: int) -> Scan:
    """Read a whole file's packets of the picture (a stream's index) and of sound."""
    scanning = _Scanning(picture)
    for packet in packets:
        scanning.take(packet)
    return scanning.result()


@dataclass
class _Scanning:
    picture: int
    parts: list[Part] = field(default_factory=lambda: [Part(0, 0.0)])
    keyframes: list[tuple[float, int]] = field(default_factory=list)
    ends: dict[bool, float] = field(
        default_factory=dict
    )  # of the picture (True) and the sound, in the whole film
    decoded: dict[int, float] = field(
        default_factory=dict
    )  # when each stream's last packet of this part is decoded
    counted: dict[int, float] = field(
        default_factory=dict
    )  # the same, counted on over packets that have no time
    steps: dict[int, float] = field(default_factory=dict)  # between the last packets of each stream
    untimed: dict[int, int] = field(default_factory=dict)  # packets of each stream since the last with a time
    delay: float = 0.0  # how much later than it is decoded the picture's first frame is shown
    seekable: bool = True
    picture_start: float | None = None
    last_picture: int = 0
    aligned: bool = False  # whether this part's picture has begun

    def take(self, packet: "Packet[Any]") -> None:
        if not packet.size or not packet.time_base:
            return
        tick, index = float(packet.time_base), packet.stream_index
        is_picture = index == self.picture
        if packet.pos is not None and packet.pos < self.parts[-1].position:
            self._take_late(packet, packet.pos, tick, is_picture=is_picture)
            return
        if packet.dts is not None:
            self._look_for_break(packet, packet.dts * tick, is_picture=is_picture)
        lasting = self._lasting(packet, tick)
        decoded = self.counted.get(index, 0.0) + lasting if packet.dts is None else packet.dts * tick
        self.counted[index] = decoded
        if packet.dts is not None:
            self.decoded[index] = decoded
        shown = decoded + self.delay * is_picture if packet.pts is None else packet.pts * tick
        if is_picture and not self.aligned:
            self._align(shown)
            self.delay = shown - decoded
        time = shown + self.parts[-1].shift
        self.ends[is_picture] = max(self.ends.get(is_picture, time), time + lasting)
        if is_picture:
            self._note_picture(time, packet.pos)
        if is_picture and packet.is_keyframe:
            self._note_keyframe(time, packet.pos)

    def _take_late(self, packet: "Packet[Any]", position: int, tick: float, *, is_picture: bool) -> None:
        """A packet of an earlier part that comes after the break: demuxers put those of close times in order."""
        if packet.pts is not None:
            lasting = packet.duration * tick if packet.duration else self.steps.get(packet.stream_index, 0.0)
            end = packet.pts * tick + _part_at(self.parts, position).shift + lasting
            self.ends[is_picture] = max(self.ends.get(is_picture, end), end)

    def result(self) -> Scan:
        keyframes = tuple(self.keyframes) if len(self.parts) > 1 else ()
        ends = self.ends.get(True, 0.0), self.ends.get(False, 0.0)
        begin = self.picture_start or 0.0
        return Scan(*ends, tuple(self.parts), keyframes, self.seekable, begin, self.last_picture)

    def _lasting(self, packet: "Packet[Any]", tick: float) -> float:
        """How long a packet lasts, by the one before it where it does not say so itself."""
        index, before = packet.stream_index, self.decoded.get(packet.stream_index)
        if packet.dts is None:
            self.untimed[index] = self.untimed.get(index, 0) + 1
        else:
            count = self.untimed.pop(index, 0) + 1
            if before is not None and 0 < packet.dts * tick - before < _LONGEST_STEP_SECONDS:
                self.steps[index] = (packet.dts * tick - before) / count
        return packet.duration * tick if packet.duration else self.steps.get(index, 0.0)

    def _look_for_break(self, packet: "Packet[Any]", time: float, *, is_picture: bool) -> None:
        before = self.decoded.get(packet.stream_index)
        back = before is not None and time < before - _STEP_BACK_SECONDS
        leap = bool(self.decoded) and time > max(self.decoded.values()) + _LEAP_SECONDS
        if not (back or leap) or packet.pos is None:
            return
        self.parts.append(Part(packet.pos, self.ends.get(is_picture, time) - time))
        self.decoded.clear()
        self.aligned = False

    def _align(self, begun: float) -> None:
        """The picture of a part follows on that of the part before, or on its sound if that went on for long."""
        self.aligned = True
        if True in self.ends:
            end = choose_film_end(self.ends[True], self.ends.get(False, 0.0))
            self.parts[-1] = replace(self.parts[-1], shift=end - begun)

    def _note_picture(self, time: float, position: int | None) -> None:
        if self.picture_start is None:
            self.picture_start = time
        if position is None:
            self.seekable = False
        else:
            self.last_picture = position

    def _note_keyframe(self, time: float, position: int | None) -> None:
        if position is None:
            return
        if not self.keyframes or time > self.keyframes[-1][0] + _KEYFRAMES_APART_SECONDS:
            self.keyframes.append((time, position))
