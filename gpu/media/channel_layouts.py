"""The channels of a source's sound: which speakers they are meant for, and how they become stereo.

PyAV 18.1 frees the channel map of a custom layout twice: once with the frame or decoder that owns it, once with the
`AudioLayout` that was copied from it. `AudioFrame("s16", "FR+FL", 16)` is enough to corrupt the heap. So decoders are
opened without a layout, the container's own is read once, and no copy of what may be a custom layout is ever freed.
"""

import ctypes
import re
from collections.abc import Iterator

from av.audio.frame import AudioFrame
from av.audio.layout import AudioLayout
from av.audio.stream import AudioStream
from av.error import BlockingIOError as NothingYet
from av.error import EOFError as Ended
from av.error import FFmpegError
from av.filter import Graph

from gpu.media.encoders import AUDIO_SAMPLE_RATE

# How FFmpeg describes a layout without a name of its own: `8 channels (FL+FR+FC+LFE+SL+SR+BL+BR)`, or `9 channels`.
_LISTED = re.compile(r"\d+ channels \(((?:\w+\+)*\w+)\)")
_COUNTED = re.compile(r"(\d+) channels")

Chain = tuple[tuple[str, dict[str, str]], ...]


def open_without_layout(stream: AudioStream) -> str:
    """Keep the container's channel layout out of the stream's decoder, and return FFmpeg's description of it.

    Decoders that know better from the sound itself say so in their frames.
    """
    layout = stream.codec_context.layout
    _never_free(layout)
    if layout.nb_channels:
        # `C`: so many channels in an unknown order.
        stream.codec_context.options = {"ch_layout": f"{layout.nb_channels}C"}
    return layout.name


def describe_layout(frame: AudioFrame, of_container: str) -> str:
    """Return the description of a frame's layout, which is the container's where the decoder knows none."""
    name = frame.layout.name
    if _LISTED.match(name):
        _never_free(frame.layout)
    return of_container if _COUNTED.fullmatch(name) else name


class StereoMixer:
    """Frames of one format in, frames of 48 kHz stereo out by FFmpeg's own matrix; a single channel stays mono.

    Mono stays so, for FFmpeg would make it quieter; more channels than two are mixed without overdriving. Where FFmpeg
    has no matrix, the first two channels are left and right.
    """

    def __init__(self, frame: AudioFrame, layout: str) -> None:
        channels = frame.layout.nb_channels
        out = "mono" if channels == 1 else "stereo"
        try:
            self._graph = _graph(frame, _known_order(layout, channels), out, _mix(layout))
        except (FFmpegError, ValueError):
            first = "mono|c0=c0" if channels == 1 else "stereo|c0=c0|c1=c1"
            own = frame.layout.name
            unknown = f"{channels}C" if _COUNTED.fullmatch(own) else _known_order(own, channels)
            self._graph = _graph(frame, unknown, out, (("pan", {"args": first}),))

    def push(self, frame: AudioFrame | None) -> Iterator[AudioFrame]:
        """Take a frame, or None at the end, and give back what is ready."""
        self._graph.push(frame)
        while True:
            try:
                mixed = self._graph.pull()
            except (NothingYet, Ended):
                return
            assert isinstance(mixed, AudioFrame)
            yield mixed


def _never_free(layout: AudioLayout) -> None:
    """Leak the few bytes of a layout: freeing it would free a channel map that belongs to somebody else."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(layout))


def _known_order(layout: str, channels: int) -> str:
    """The layout as filters take it; FFmpeg's usual one for the number of channels where that is all that is known."""
    listed = _LISTED.fullmatch(layout)
    if listed:
        return listed[1]
    return f"{channels}c" if _COUNTED.match(layout) else layout


def _mix(layout: str) -> Chain:
    """What goes before the resampler: of an ambisonic recording, what microphones to the left and right would hear."""
    if layout.startswith("ambisonic"):
        return (("pan", {"args": "stereo|c0=0.5*c0+0.5*c1|c1=0.5*c0-0.5*c1"}),)
    return ()


def _graph(frame: AudioFrame, layout: str, out: str, mix: Chain) -> Graph:
    graph = Graph()
    source = {
        "sample_rate": str(frame.sample_rate),
        "sample_fmt": frame.format.name,
        "channel_layout": layout,
        "time_base": str(frame.time_base or f"1/{frame.sample_rate}"),
    }
    target = {"sample_rates": str(AUDIO_SAMPLE_RATE), "sample_fmts": "fltp", "channel_layouts": out}
    chain: Chain = (
        ("abuffer", source),
        *mix,
        ("aresample", {"rematrix_maxval": "1.0"}),
        ("aformat", target),
        ("abuffersink", {}),
    )
    graph.link_nodes(*(graph.add(name, **arguments) for name, arguments in chain))
    graph.configure()
    return graph
