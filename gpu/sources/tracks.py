"""Select a file's main video stream and the audio that belongs to it, as FFmpeg does."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from math import inf, isfinite
from typing import Any

from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.stream import VideoStream

from gpu.sources.duration import parse_clock
from gpu.sources.ffmpeg_listing import Listing

_NOT_MAIN_VIDEO = (
    Disposition.attached_pic
    | Disposition.timed_thumbnails
    | Disposition.still_image
    | Disposition.dependent
    | Disposition.multilayer
)
_SPECIAL_PURPOSE_AUDIO = (
    Disposition.hearing_impaired
    | Disposition.visual_impaired
    | Disposition.comment
    | Disposition.karaoke
    | Disposition.clean_effects
    | Disposition.descriptions
)
# Enough to distinguish a still from a video if the header does not count frames.
_MAX_COUNTED_PACKETS = 3_000
# A video track much shorter than another one is its thumbnail or its title.
_MIN_LENGTH_SHARE = 0.1
# Tracks of one recording differ by a few frames: of two that are otherwise equally long the first is selected.
_EQUAL_SHARE = 0.95


@dataclass(frozen=True)
class Track:
    """An audio track; `number` counts audio tracks from 0, `index` all streams of the file."""

    number: int
    index: int
    codec: str
    channels: int
    sample_rate: int | None
    language: str | None
    title: str | None
    default: bool

    @property
    def is_split_channel(self) -> bool:
        """Whether it may be one channel of a recording with a track per channel: mono PCM."""
        return self.channels == 1 and self.codec.startswith("pcm_")


@dataclass(frozen=True)
class TrackMix:
    """Audio tracks that play together, by stream index; two in one part are left and right."""

    parts: tuple[tuple[int, ...], ...]

    @property
    def indexes(self) -> tuple[int, ...]:
        return tuple(index for part in self.parts for index in part)


def list_tracks(container: InputContainer, listing: Listing) -> tuple[Track, ...]:
    """Describe every audio track of a file.

    Tracks that can't be decoded, or that begin late, have no sample rate.
    """
    return tuple(_describe_track(*numbered, listing) for numbered in enumerate(container.streams.audio))


def _describe_track(number: int, stream: AudioStream, listing: Listing) -> Track:
    language = stream.metadata.get("language", "und")
    return Track(
        number=number,
        index=stream.index,
        codec=listing.codecs.get(stream.index, "unknown"),
        channels=listing.channels.get(stream.index, 0),
        sample_rate=getattr(stream, "sample_rate", None) or None,
        language=None if language == "und" else language,
        title=stream.metadata.get("title") or None,
        default=bool(stream.disposition & Disposition.default),
    )


def rank_audio(
    container: InputContainer, tracks: Sequence[Track], programme: frozenset[int] | None
) -> tuple[TrackMix, ...]:
    """Return the audio that fits a video stream's programme, best first.

    Tracks flagged as default come before others, more channels before fewer, and tracks for the deaf or with comments
    last. Split mono tracks are joined in pairs.
    """
    usable = [
        track
        for track in tracks
        if track.sample_rate is not None and (programme is None or track.index in programme)
    ]

    def rank(pair: tuple[Track, ...]) -> tuple[bool, bool, int, int]:
        flags = container.streams[pair[0].index].disposition
        is_default = any(track.default for track in pair)
        return (
            bool(flags & _SPECIAL_PURPOSE_AUDIO),
            not is_default,
            -sum(track.channels for track in pair),
            pair[0].number,
        )

    pairs = sorted(join_split_channels(usable), key=rank)
    return tuple(TrackMix((tuple(track.index for track in pair),)) for pair in pairs)


def join_split_channels(tracks: Iterable[Track]) -> Iterator[tuple[Track, ...]]:
    """Yield each track alone, or two neighbours that are left and right of one recording."""
    pending: Track | None = None
    for track in tracks:
        if pending is None:
            pending = track
        elif _are_left_and_right(pending, track):
            yield pending, track
            pending = None
        else:
            yield (pending,)
            pending = track
    if pending is not None:
        yield (pending,)


def _are_left_and_right(left: Track, right: Track) -> bool:
    alike = (left.codec, left.sample_rate, left.language) == (right.codec, right.sample_rate, right.language)
    return left.is_split_channel and right.is_split_channel and alike and right.number == left.number + 1


def select_video_stream(container: InputContainer, packets: "Iterable[Packet[Any]]") -> VideoStream | None:
    """Return the main video stream, or None if there is none.

    Stills are left out. The order is: flagged as default, largest, most frames, longest, first. `packets` are the
    file's from its beginning; they are read only if the header does not count frames.
    """
    streams = [stream for stream in container.streams.video if getattr(stream, "width", None)]
    streams = [stream for stream in streams if not stream.disposition & Disposition.attached_pic]
    frames = _FrameCount(packets)
    if len(streams) > 1:
        streams = [stream for stream in streams if not stream.disposition & _NOT_MAIN_VIDEO] or streams
    if len(streams) > 1:
        streams = [stream for stream in streams if frames.has_several(stream)] or streams
    longest = max((seconds for seconds in map(_header_seconds, streams) if isfinite(seconds)), default=0.0)
    streams = [stream for stream in streams if _header_seconds(stream) >= longest * _MIN_LENGTH_SHARE]
    best = max(map(_rank_video, streams), default=None)
    streams = [stream for stream in streams if _rank_video(stream) == best]
    if len(streams) > 1:
        streams = _keep_most(streams, frames.count(streams))
        streams = _keep_most(streams, [_header_seconds(stream) for stream in streams])
    return next(iter(streams), None)


def _rank_video(stream: VideoStream) -> tuple[bool, int]:
    return bool(stream.disposition & Disposition.default), stream.width * stream.height


def _keep_most(streams: Sequence[VideoStream], numbers: Sequence[float]) -> list[VideoStream]:
    """Keep the streams whose number is at most 5 % below the largest."""
    minimum = max(numbers) * _EQUAL_SHARE
    return [stream for stream, number in zip(streams, numbers, strict=True) if number >= minimum]


def _header_seconds(stream: VideoStream) -> float:
    """Return a stream's length by its header, or infinity, so that it is never too short."""
    if not stream.duration or stream.time_base is None:
        return parse_clock(stream.metadata.get("DURATION", "")) or inf
    return float(stream.duration * stream.time_base)


class _FrameCount:
    """Count streams' frames by their headers, or else among a file's first packets."""

    def __init__(self, packets: "Iterable[Packet[Any]]") -> None:
        self._packets = islice(packets, _MAX_COUNTED_PACKETS)
        self._counts: Counter[int] = Counter()

    def has_several(self, stream: VideoStream) -> bool:
        """Return whether a stream has more than one frame, reading no more packets than needed."""
        if stream.frames:
            return stream.frames > 1
        while self._counts[stream.index] <= 1 and self._take_packet():
            pass
        return self._counts[stream.index] > 1

    def count(self, streams: Sequence[VideoStream]) -> list[float]:
        """Count all streams in the same way, so that they can be compared."""
        header_counts = [_header_frames(stream) for stream in streams]
        if all(header_counts):
            return header_counts
        while self._take_packet():
            pass
        return [float(self._counts[stream.index]) for stream in streams]

    def _take_packet(self) -> bool:
        packet = next(self._packets, None)
        if packet is not None and packet.size:
            self._counts[packet.stream_index] += 1
        return packet is not None


def _header_frames(stream: VideoStream) -> float:
    """Return a stream's number of frames by its header or its tagged length, or 0."""
    tagged_seconds = parse_clock(stream.metadata.get("DURATION", "")) or 0.0
    return stream.frames or float(tagged_seconds * (stream.average_rate or 0))
