"""Select the audio that an export takes from a source.

The configuration decides; without one it is the first of the source's tracks that is not silent.
"""

from contextlib import closing
from dataclasses import replace

import numpy as np

from gpu.config import AudioMix, AudioTrack, VideoConfig
from gpu.errors import ExportError
from gpu.media.audio import read_audio
from gpu.media.timeline import SpeedSpan
from gpu.sources.source import Source
from gpu.sources.tracks import TrackMix, join_split_channels

# -66 dB of full scale: below the noise of any microphone, above that of an analog-to-digital converter.
_SILENT_PEAK = 0.0005


def select_audio(source: Source, config: VideoConfig, *, listen: bool = True) -> Source:
    """Return the source with the audio that its export has.

    With `listen` the source's audio is decoded where silence decides. Raises ExportError: no_such_track,
    track_unreadable.
    """
    if not config.include_audio:
        return source
    match config.audio:
        case AudioTrack(track=number):
            return replace(source, audio=TrackMix(((_stream_index(source, number, ("audio", "track")),),)))
        case AudioMix(mix=numbers):
            parts = tuple(
                (_stream_index(source, number, ("audio", "mix", numbers.index(number))),)
                for number in dict.fromkeys(numbers)
            )
            return replace(source, audio=TrackMix(parts))
        case "all":
            return replace(source, audio=_mix_all(source))
        case None:
            return _with_audible_sound(source) if listen else source


def _stream_index(source: Source, number: int, loc: tuple[str | int, ...]) -> int:
    """Return the stream index of a sound track by the track's number, which the configuration has at `loc`."""
    count = len(source.tracks)
    if number >= count:
        available = {0: "no sound track", 1: "one sound track, number 0"}.get(
            count, f"{count} sound tracks, numbers 0 to {count - 1}"
        )
        message = f"There is no sound track {number}: the source has {available}."
        raise ExportError("no_such_track", message, loc=loc)
    track = source.tracks[number]
    if track.sample_rate is None:
        message = f"Sound track {number} ({track.codec}) can't be decoded; choose another one, or export without sound."
        raise ExportError("track_unreadable", message, loc=loc)
    return track.index


def _mix_all(source: Source) -> TrackMix | None:
    """Return a mix of all decodable tracks; left and right in separate tracks stay apart."""
    pairs = join_split_channels(track for track in source.tracks if track.sample_rate is not None)
    parts = tuple(tuple(track.index for track in pair) for pair in pairs)
    return TrackMix(parts) if parts else None


def _with_audible_sound(source: Source) -> Source:
    """Return the source with its first audio candidate that is not silent, if it has several."""
    for tracks in source.audio_candidates if len(source.audio_candidates) > 1 else ():
        candidate = replace(source, audio=tracks)
        if not _is_silent(candidate):
            break
    else:
        return source
    if candidate.audio == source.audio:
        return source
    silent, audible = (
        _describe_tracks(source, source.audio_candidates[0]),
        _describe_tracks(source, tracks).lower(),
    )
    note = f"{silent} is silent, so {audible} is used instead."
    return replace(candidate, notes=(*source.notes, note))


def _describe_tracks(source: Source, tracks: TrackMix) -> str:
    numbers = [str(track.number) for track in source.tracks if track.index in tracks.indexes]
    return f"Sound track{'s' if len(numbers) > 1 else ''} {' and '.join(numbers)}"


def _is_silent(source: Source) -> bool:
    """Return whether the audio is silent; audio that can't be decoded counts as silent."""
    try:
        with closing(read_audio(source, (SpeedSpan(0.0, source.duration),), source.duration)) as blocks:
            return not any(float(np.abs(block).max()) > _SILENT_PEAK for block in blocks)
    except ExportError:
        return True
