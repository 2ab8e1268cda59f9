"""Which of a file's streams are the film: its picture, and the sound that goes with it, chosen as FFmpeg does."""

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

_NO_FILM = (
    Disposition.attached_pic
    | Disposition.timed_thumbnails
    | Disposition.still_image
    | Disposition.dependent
    | Disposition.multilayer
)
_NOT_FOR_ALL = (
    Disposition.hearing_impaired
    | Disposition.visual_impaired
    | Disposition.comment
    | Disposition.karaoke
    | Disposition.clean_effects
    | Disposition.descriptions
)
# Enough to tell a single picture from a film where the header does not count frames.
_LOOKED_AT_PACKETS = 3_000
# A picture track much shorter than another one is its thumbnail or its title.
_SHORT_SHARE = 0.1
# Tracks of one recording are cut apart by some frames: of two that are as long but for that the first is the film.
_EQUAL_SHARE = 0.95


@dataclass(frozen=True)
class Track:
    """A sound track; `number` counts the file's sound tracks from 0, `index` all of its streams."""

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
        """Whether it may be one channel of a recording whose channels are tracks: uncompressed, and mono."""
        return self.channels == 1 and self.codec.startswith("pcm_")


@dataclass(frozen=True)
class TrackMix:
    """The sound tracks that are heard together, by their streams; two in one part are its left and its right."""

    parts: tuple[tuple[int, ...], ...]

    @property
    def indexes(self) -> tuple[int, ...]:
        return tuple(index for part in self.parts for index in part)


def list_tracks(container: InputContainer, listing: Listing) -> tuple[Track, ...]:
    """Describe every sound track of a file; those that can't be decoded, or begin late, have no sample rate."""
    return tuple(_track(*numbered, listing) for numbered in enumerate(container.streams.audio))


def _track(number: int, stream: AudioStream, listing: Listing) -> Track:
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
    """List what may be heard with a picture of a programme, best first.

    What is flagged default comes before what is not, more channels before fewer, and a track for the deaf or with
    comments last. Split mono tracks are joined in pairs.
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
            bool(flags & _NOT_FOR_ALL),
            not is_default,
            -sum(track.channels for track in pair),
            pair[0].number,
        )

    pairs = sorted(join_split_channels(usable), key=rank)
    return tuple(TrackMix((tuple(track.index for track in pair),)) for pair in pairs)


def join_split_channels(tracks: Iterable[Track]) -> Iterator[tuple[Track, ...]]:
    """Yield the tracks one by one, but two neighbours that are the left and right of one recording together."""
    waiting: Track | None = None
    for track in tracks:
        if waiting is None:
            waiting = track
        elif _are_left_and_right(waiting, track):
            yield waiting, track
            waiting = None
        else:
            yield (waiting,)
            waiting = track
    if waiting is not None:
        yield (waiting,)


def _are_left_and_right(left: Track, right: Track) -> bool:
    alike = (left.codec, left.sample_rate, left.language) == (right.codec, right.sample_rate, right.language)
    return left.is_split_channel and right.is_split_channel and alike and right.number == left.number + 1


def select_video_stream(container: InputContainer, packets: "Iterable[Packet[Any]]") -> VideoStream | None:
    """Choose the film among picture streams; None if there is none.

    It is no still. The one flagged default comes first, then the largest, that of most frames, the longest, the first.
    `packets` are the file's from its beginning; they are read only where the header does not count frames.
    """
    streams = [stream for stream in container.streams.video if getattr(stream, "width", None)]
    streams = [stream for stream in streams if not stream.disposition & Disposition.attached_pic]
    frames = _FrameCount(packets)
    if len(streams) > 1:
        streams = [stream for stream in streams if not stream.disposition & _NO_FILM] or streams
    if len(streams) > 1:
        streams = [stream for stream in streams if frames.are_several(stream)] or streams
    longest = max((seconds for seconds in map(_seconds, streams) if isfinite(seconds)), default=0.0)
    streams = [stream for stream in streams if _seconds(stream) >= longest * _SHORT_SHARE]
    best = max(map(_film_rank, streams), default=None)
    streams = [stream for stream in streams if _film_rank(stream) == best]
    if len(streams) > 1:
        streams = _keep_most(streams, frames.count(streams))
        streams = _keep_most(streams, [_seconds(stream) for stream in streams])
    return next(iter(streams), None)


def _film_rank(stream: VideoStream) -> tuple[bool, int]:
    return bool(stream.disposition & Disposition.default), stream.width * stream.height


def _keep_most(streams: Sequence[VideoStream], numbers: Sequence[float]) -> list[VideoStream]:
    """Leave out the streams whose number is lower than another's, but for a few in a hundred."""
    least = max(numbers) * _EQUAL_SHARE
    return [stream for stream, number in zip(streams, numbers, strict=True) if number >= least]


def _seconds(stream: VideoStream) -> float:
    """How long a stream lasts as the header says; endless where it does not, so that it is never too short."""
    if not stream.duration or stream.time_base is None:
        return parse_clock(stream.metadata.get("DURATION", "")) or inf
    return float(stream.duration * stream.time_base)


class _FrameCount:
    """How many frames streams have: as their headers tell, else as many as there are among a file's first packets."""

    def __init__(self, packets: "Iterable[Packet[Any]]") -> None:
        self._packets = islice(packets, _LOOKED_AT_PACKETS)
        self._found: Counter[int] = Counter()

    def are_several(self, stream: VideoStream) -> bool:
        """Whether a stream has more than one; no more packets are read than that takes."""
        if stream.frames:
            return stream.frames > 1
        while self._found[stream.index] <= 1 and self._take_packet():
            pass
        return self._found[stream.index] > 1

    def count(self, streams: Sequence[VideoStream]) -> list[float]:
        """Count all streams alike, so that they can be compared."""
        told = [_told_frames(stream) for stream in streams]
        if all(told):
            return told
        while self._take_packet():
            pass
        return [float(self._found[stream.index]) for stream in streams]

    def _take_packet(self) -> bool:
        packet = next(self._packets, None)
        if packet is not None and packet.size:
            self._found[packet.stream_index] += 1
        return packet is not None


def _told_frames(stream: VideoStream) -> float:
    """How many frames a stream has by its header, or by its tagged length; 0 where neither tells."""
    tagged = parse_clock(stream.metadata.get("DURATION", "")) or 0.0
    return stream.frames or float(tagged * (stream.average_rate or 0))
