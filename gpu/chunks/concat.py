"""Pieces put together: packets are copied, never encoded again, each piece where it belongs."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from heapq import merge
from pathlib import Path

import av
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from gpu.errors import ExportError, map_errors
from gpu.media.audio import Sound, frame_of
from gpu.media.encode import PLAYABLE, Render, set_chapters, sound_stream

Packets = Iterator["Packet[Stream]"]

_FAILED = "The pieces of the export could not be joined."


def write_sound(sound: Sound, path: Path) -> Generator[None, None, None]:
    """Encode an export's whole sound into an MP4 of its own, block by block."""
    heard = 0
    with (
        closing(sound),
        map_errors("encode_failed", "The export's sound could not be encoded."),
        av.open(f"file:{path}", "w", format="mp4") as container,
    ):
        stream = sound_stream(container)
        for block in sound:
            frame = frame_of(block, heard)
            heard += frame.samples
            container.mux(stream.encode(frame))
            yield
        container.mux(stream.encode(None))


def join(
    render: Render, pieces: Sequence[tuple[range, Path]], sound: Path | None, tag: str | None, path: Path
) -> Generator[float, None, None]:
    """One MP4 of pieces, each with its ticks, and the sound; yields the share done. Empty files hold no frames.

    `tag` is the video's code where FFmpeg's own choice won't do. Raises ExportError: encode_failed, pieces_differ.
    """
    with (
        map_errors("encode_failed", _FAILED),
        ExitStack() as opened,
        av.open(f"file:{path}", "w", format="mp4", options=PLAYABLE) as container,
    ):
        filled = [(ticks, _opened(opened, piece)) for ticks, piece in pieces if piece.stat().st_size]
        heard = None if sound is None else _opened(opened, sound)
        tracks = [_shown(render, filled, _picture_track(container, filled, tag))]
        if heard is not None:
            tracks.append(_copied(heard, container.add_stream_from_template(heard.streams.audio[0])))
        set_chapters(container, render.chapters)
        for packet in merge(*tracks, key=_decoded_at):
            container.mux(packet)
            yield min(1.0, max(0.0, _decoded_at(packet)) / render.seconds)


def _opened(stack: ExitStack, path: Path) -> InputContainer:
    return stack.enter_context(av.open(f"file:{path}", "r", format="mp4"))


def _picture_track(
    container: OutputContainer, pieces: Sequence[tuple[range, InputContainer]], tag: str | None
) -> VideoStream:
    """One track can hold them all only if they were encoded alike."""
    models = [piece.streams.video[0] for _, piece in pieces]
    if len({(model.codec_context.name, model.codec_context.extradata) for model in models}) != 1:
        raise ExportError("pieces_differ", "The pieces of the export were not encoded alike.", transient=True)
    # With the decoder as its model: not every codec has an encoder of the same name.
    track = container.add_stream_from_template(models[0], opaque=True)
    if tag is not None:
        track.codec_context.codec_tag = tag
    return track


def _shown(render: Render, pieces: Sequence[tuple[range, InputContainer]], track: VideoStream) -> Packets:
    for ticks, piece in pieces:
        stream = piece.streams.video[0]
        scale = render.clock.time_base / (stream.time_base or render.clock.time_base)
        shift, end = round(ticks.start * scale), round(ticks.stop * scale)
        for packet in _copied(piece, track, shift):
            # Read from an MP4 it is the time to the next packet's decoding, which a new reel may put off.
            packet.duration = min(packet.duration or 0, end - (packet.pts or 0))
            yield packet


def _copied(container: InputContainer, track: Stream, shift: int = 0) -> Packets:
    """The packets of a file's one stream, moved by so many ticks of its own."""
    for packet in container.demux(container.streams[0]):
        if packet.pts is None or packet.dts is None:
            continue  # the end
        packet.pts += shift
        packet.dts += shift
        packet.stream = track
        yield packet


def _decoded_at(packet: "Packet[Stream]") -> float:
    return float((packet.dts or 0) * packet.time_base)
