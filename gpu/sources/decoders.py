"""Decoders for what FFmpeg's own choice gets wrong, and the shape of pixels as decoding goes on."""

from fractions import Fraction
from typing import cast

import av
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

# FFmpeg's own decoders of VP8 and VP9 leave out the transparency that WebM keeps beside the picture.
_WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}


class Decoder:
    """Decodes a stream's packets, with their transparency where they have one."""

    def __init__(self) -> None:
        self._context: VideoCodecContext | None = None

    def decode(self, packet: "Packet[VideoStream]") -> list[VideoFrame]:
        """Decode a packet; an empty one gives what is still held back."""
        stream = packet.stream
        name = _WITH_ALPHA.get(stream.codec.canonical_name)
        if name is None or stream.metadata.get("alpha_mode") != "1":
            return packet.decode()
        if self._context is None:
            self._context = cast(VideoCodecContext, av.CodecContext.create(name, "r"))
            self._context.options = dict(stream.codec_context.options)
        return self._context.decode(packet)


class PixelShape:
    """How wide a stream's pixels are for their height: as the file says, until the pictures say something new."""

    def __init__(self, stream: VideoStream) -> None:
        self._stream = stream
        self._told = stream.sample_aspect_ratio or Fraction(1)
        self._coded = stream.codec_context.sample_aspect_ratio

    def latest(self) -> Fraction:
        """The shape of the pixels of the picture that was decoded last."""
        coded = self._stream.codec_context.sample_aspect_ratio
        return self._told if coded == self._coded else coded or Fraction(1)
