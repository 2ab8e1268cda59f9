"""Decode streams for which FFmpeg's default decoder is wrong, and track their pixel shape."""

from fractions import Fraction
from typing import cast

import av
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

# FFmpeg's own decoders of VP8 and VP9 ignore the transparency that WebM stores separately from the picture.
_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}


class Decoder:
    """Decode a stream's packets, with their transparency if they have it."""

    def __init__(self) -> None:
        self._context: VideoCodecContext | None = None

    def decode(self, packet: "Packet[VideoStream]") -> list[VideoFrame]:
        """Decode a packet; an empty one flushes the decoder."""
        stream = packet.stream
        name = _ALPHA_DECODERS.get(stream.codec.canonical_name)
        if name is None or stream.metadata.get("alpha_mode") != "1":
            return packet.decode()
        if self._context is None:
            self._context = cast(VideoCodecContext, av.CodecContext.create(name, "r"))
            self._context.options = dict(stream.codec_context.options)
        return self._context.decode(packet)


class PixelShape:
    """The aspect ratio of a stream's pixels: the header's until the pictures change theirs."""

    def __init__(self, stream: VideoStream) -> None:
        self._stream = stream
        self._from_header = stream.sample_aspect_ratio or Fraction(1)
        self._initially_coded = stream.codec_context.sample_aspect_ratio

    def latest(self) -> Fraction:
        """Return the aspect ratio of the pixels of the picture that was decoded last."""
        coded = self._stream.codec_context.sample_aspect_ratio
        return self._from_header if coded == self._initially_coded else coded or Fraction(1)
