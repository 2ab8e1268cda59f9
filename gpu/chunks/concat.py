"""Concatenate encoded chunks: packets are copied with shifted times, never encoded again."""

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
from gpu.media.audio import AudioBlocks, frame_from_samples
from gpu.media.chapters import set_chapters
from gpu.media.encode import FASTSTART, Render, add_audio_stream

Packets = Iterator["Packet[Stream]"]

_FAILED = "The parts of the export could not be joined."


def write_audio(sound: AudioBlocks, path: Path) -> Generator[None, None, None]:
    """Encode the whole audio of an export into an MP4 without video, block by block."""
    samples = 0
    with (
        closing(sound),
        map_errors("encode_failed", "The export's sound could not be encoded."),
        av.open(f"file:{path}", "w", format="mp4") as container,
    ):
        stream = add_audio_stream(container)
        for block in sound:
            frame = frame_from_samples(block, samples)
            samples += frame.samples
            container.mux(stream.encode(frame))
            yield
        container.mux(stream.encode(None))


def concat(
    render: Render, chunks: Sequence[tuple[range, Path]], sound: Path | None, tag: str | None, path: Path
) -> Generator[float, None, None]:
    """Write one MP4 from the chunks, each with its ticks, and the audio; yield the fraction done.

    Empty files contain no frames. `tag` is the video's FourCC where FFmpeg's choice is not wanted. Raises ExportError:
    encode_failed, pieces_differ.
    """
    with (
        map_errors("encode_failed", _FAILED),
        ExitStack() as stack,
        av.open(f"file:{path}", "w", format="mp4", options=FASTSTART) as container,
    ):
        inputs = [(ticks, _open(stack, chunk)) for ticks, chunk in chunks if chunk.stat().st_size]
        audio = None if sound is None else _open(stack, sound)
        tracks = [_video_packets(render, inputs, _video_track(container, inputs, tag))]
        if audio is not None:
            tracks.append(_shift_packets(audio, container.add_stream_from_template(audio.streams.audio[0])))
        set_chapters(container, render.chapters)
        for packet in merge(*tracks, key=_decode_time):
            container.mux(packet)
            yield min(1.0, max(0.0, _decode_time(packet)) / render.seconds)


def _open(stack: ExitStack, path: Path) -> InputContainer:
    return stack.enter_context(av.open(f"file:{path}", "r", format="mp4"))


def _video_track(
    container: OutputContainer, chunks: Sequence[tuple[range, InputContainer]], tag: str | None
) -> VideoStream:
    """Add the video track; raises pieces_differ unless all chunks have the same codec parameters."""
    streams = [chunk.streams.video[0] for _, chunk in chunks]
    if len({(stream.codec_context.name, stream.codec_context.extradata) for stream in streams}) != 1:
        raise ExportError(
            "pieces_differ", "The parts of the export were encoded in different ways.", transient=True
        )
    # From the decoder's parameters: not every codec has an encoder of the same name.
    track = container.add_stream_from_template(streams[0], opaque=True)
    if tag is not None:
        track.codec_context.codec_tag = tag
    return track


def _video_packets(
    render: Render, chunks: Sequence[tuple[range, InputContainer]], track: VideoStream
) -> Packets:
    for ticks, chunk in chunks:
        stream = chunk.streams.video[0]
        scale = render.clock.time_base / (stream.time_base or render.clock.time_base)
        shift, end = round(ticks.start * scale), round(ticks.stop * scale)
        for packet in _shift_packets(chunk, track, shift):
            # An MP4 gives the time to the next packet's decoding, which an encoder restart may delay.
            packet.duration = min(packet.duration or 0, end - (packet.pts or 0))
            yield packet


def _shift_packets(container: InputContainer, track: Stream, shift: int = 0) -> Packets:
    """Read the packets of a file's only stream, with `shift` added to their times, in its time base."""
    for packet in container.demux(container.streams[0]):
        if packet.pts is None or packet.dts is None:
            continue  # the end
        packet.pts += shift
        packet.dts += shift
        packet.stream = track
        yield packet


def _decode_time(packet: "Packet[Stream]") -> float:
    return float((packet.dts or 0) * packet.time_base)
