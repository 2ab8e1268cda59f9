"""Find breaks in a file's clock, as in recordings joined end to end, and close them.

A transport stream may be cut and joined anywhere, so the whole file is read once. A part begins where the decoding time
steps back, or where it leaps ahead of every stream, as in FFmpeg's own `dts_delta_threshold`. Its first picture follows
the last picture of the part before. Parts are identified by byte position, because their times may overlap.
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
# If audio is longer by less than this, tracks were only cut differently: the last picture is not shown longer.
_MIN_HOLD_SECONDS = 1.0
_TS_DISCONT = 0x0200  # AVFMT_TS_DISCONT


@dataclass(frozen=True)
class Part:
    """A part of a file from a byte position on; its times are shifted by so many seconds."""

    position: int
    shift: float


@dataclass(frozen=True)
class Scan:
    """What reading all of a file's packets shows.

    Times are on the container's clock with breaks closed. `keyframes` are pairs of time and byte position, for files
    of several parts. `seekable` means that every picture is in a packet of the container with its own time: FFmpeg
    guesses the other times from the packets before, and after a seek its guess is wrong.
    """

    picture_end: float
    audio_end: float
    parts: tuple[Part, ...]
    keyframes: tuple[tuple[float, int], ...] = ()
    seekable: bool = True
    picture_start: float = 0.0
    last_picture: int = 0  # its byte position
    determines_duration: bool = True  # whether the length is taken from here, not from the headers

    @property
    def breaks(self) -> int:
        return len(self.parts) - 1

    def without_byte_seek(self) -> "Scan":
        """Return the scan for a container that can't seek to a byte.

        If it has breaks, it must be read from its beginning.
        """
        has_breaks = self.breaks > 0
        return replace(self, keyframes=(), seekable=not has_breaks, determines_duration=has_breaks)

    def position(self, time: float) -> int:
        """Return the byte position to read from for the picture at a time."""
        number = bisect_right(self.keyframes, time, key=lambda keyframe: keyframe[0])
        return self.keyframes[number - 1][1] if number else 0


def choose_video_end(picture_end: float, audio_end: float) -> float:
    """Return the end of the video: the audio's if the picture ends long before it."""
    return audio_end if audio_end > picture_end + _MIN_HOLD_SECONDS else picture_end


def is_concatenable(container: InputContainer) -> bool:
    """Return whether files of this format can be concatenated byte by byte."""
    return bool(container.format.flags & _TS_DISCONT)


def describe_breaks(scan: Scan | None) -> tuple[str, ...]:
    """Return sentences about the breaks for the job's timeline."""
    if scan is None or not scan.breaks:
        return ()
    count = "a break" if scan.breaks == 1 else f"{scan.breaks} breaks"
    return (f"The source's timestamps have {count}; its parts are joined without a gap.",)


def close_breaks(packets: "Iterable[Packet[Kind]]", scan: Scan | None) -> "Iterator[Packet[Kind]]":
    """Shift the times of packets so that the clock runs through the whole file."""
    if scan is None or not scan.breaks:
        yield from packets
        return
    shift = 0.0
    for original in packets:
        packet = original
        if original.pos is not None:
            part = _part_at(scan.parts, original.pos)
            shift = part.shift
            packet = (
                _without_discard(original) if original.is_discard and part is not scan.parts[0] else original
            )
        ticks = round(shift / packet.time_base) if packet.time_base else 0
        packet.pts = None if packet.pts is None else packet.pts + ticks
        packet.dts = None if packet.dts is None else packet.dts + ticks
        yield packet


def _without_discard(packet: "Packet[Kind]") -> "Packet[Kind]":
    """Return the packet without its discard flag.

    FFmpeg flags fragments of MP4 whose times step back.
    """
    copy = cast("Packet[Kind]", Packet(bytes(packet)))
    copy.stream, copy.time_base = packet.stream, packet.time_base
    copy.pts, copy.dts, copy.duration = packet.pts, packet.dts, packet.duration
    copy.is_keyframe = packet.is_keyframe
    return copy


def _part_at(parts: Sequence[Part], position: int) -> Part:
    return parts[bisect_right(parts, position, key=lambda part: part.position) - 1]


def scan_packets(packets: "Iterable[Packet[Any]]", picture: int) -> Scan:
    """Scan a whole file's packets; `picture` is the index of the video stream."""
    scanner = _Scanner(picture)
    for packet in packets:
        scanner.add(packet)
    return scanner.result()


@dataclass
class _Scanner:
    """The state of a scan."""

    picture: int
    parts: list[Part] = field(default_factory=lambda: [Part(0, 0.0)])
    keyframes: list[tuple[float, int]] = field(default_factory=list)
    # The end of video (True) and audio in the whole file.
    ends: dict[bool, float] = field(default_factory=dict)
    # The decoding time of each stream's last packet in this part.
    decode_times: dict[int, float] = field(default_factory=dict)
    # The same, extrapolated over packets that have no time.
    estimated_times: dict[int, float] = field(default_factory=dict)
    # The time between the last packets of each stream.
    step_seconds: dict[int, float] = field(default_factory=dict)
    # The number of packets of each stream since the last with a time.
    untimed_counts: dict[int, int] = field(default_factory=dict)
    delay: float = 0.0  # from the decoding of the video's first frame to its presentation
    seekable: bool = True
    picture_start: float | None = None
    last_picture: int = 0
    aligned: bool = False  # whether this part's video has begun

    def add(self, packet: "Packet[Any]") -> None:
        """Note a packet, and begin a new part if the clock breaks here."""
        if not packet.size or not packet.time_base:
            return
        tick, index = float(packet.time_base), packet.stream_index
        is_picture = index == self.picture
        if packet.pos is not None and packet.pos < self.parts[-1].position:
            self._add_late(packet, packet.pos, tick, is_picture=is_picture)
            return
        if packet.dts is not None:
            self._detect_break(packet, packet.dts * tick, is_picture=is_picture)
        seconds = self._packet_seconds(packet, tick)
        decoded = self.estimated_times.get(index, 0.0) + seconds if packet.dts is None else packet.dts * tick
        self.estimated_times[index] = decoded
        if packet.dts is not None:
            self.decode_times[index] = decoded
        presented = decoded + self.delay * is_picture if packet.pts is None else packet.pts * tick
        if is_picture and not self.aligned:
            self._align(presented)
            self.delay = presented - decoded
        time = presented + self.parts[-1].shift
        self.ends[is_picture] = max(self.ends.get(is_picture, time), time + seconds)
        if is_picture:
            self._note_picture(time, packet.pos)
        if is_picture and packet.is_keyframe:
            self._note_keyframe(time, packet.pos)

    def _add_late(self, packet: "Packet[Any]", position: int, tick: float, *, is_picture: bool) -> None:
        """Note a packet of an earlier part that comes after the break.

        Demuxers sort packets of close times.
        """
        if packet.pts is not None:
            seconds = (
                packet.duration * tick if packet.duration else self.step_seconds.get(packet.stream_index, 0.0)
            )
            end = packet.pts * tick + _part_at(self.parts, position).shift + seconds
            self.ends[is_picture] = max(self.ends.get(is_picture, end), end)

    def result(self) -> Scan:
        keyframes = tuple(self.keyframes) if len(self.parts) > 1 else ()
        ends = self.ends.get(True, 0.0), self.ends.get(False, 0.0)
        begin = self.picture_start or 0.0
        return Scan(*ends, tuple(self.parts), keyframes, self.seekable, begin, self.last_picture)

    def _packet_seconds(self, packet: "Packet[Any]", tick: float) -> float:
        """Return a packet's duration, estimated from the packets before if it has none."""
        index, before = packet.stream_index, self.decode_times.get(packet.stream_index)
        if packet.dts is None:
            self.untimed_counts[index] = self.untimed_counts.get(index, 0) + 1
        else:
            count = self.untimed_counts.pop(index, 0) + 1
            if before is not None and 0 < packet.dts * tick - before < _LONGEST_STEP_SECONDS:
                self.step_seconds[index] = (packet.dts * tick - before) / count
        return packet.duration * tick if packet.duration else self.step_seconds.get(index, 0.0)

    def _detect_break(self, packet: "Packet[Any]", time: float, *, is_picture: bool) -> None:
        before = self.decode_times.get(packet.stream_index)
        steps_back = before is not None and time < before - _STEP_BACK_SECONDS
        leaps_ahead = bool(self.decode_times) and time > max(self.decode_times.values()) + _LEAP_SECONDS
        if not (steps_back or leaps_ahead) or packet.pos is None:
            return
        self.parts.append(Part(packet.pos, self.ends.get(is_picture, time) - time))
        self.decode_times.clear()
        self.aligned = False

    def _align(self, begun: float) -> None:
        """Shift a part so that its video follows the part before.

        It follows that part's video, or its audio if that is much longer.
        """
        self.aligned = True
        if True in self.ends:
            end = choose_video_end(self.ends[True], self.ends.get(False, 0.0))
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
