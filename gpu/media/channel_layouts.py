"""Read the channel layout of a source's audio, and mix its channels to stereo.

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
from av.error import BlockingIOError as FrameNotReady
from av.error import EOFError as EndOfStream
from av.error import FFmpegError
from av.filter import Graph

from gpu.media.encoders import AUDIO_SAMPLE_RATE

# How FFmpeg describes a layout that has no name: `8 channels (FL+FR+FC+LFE+SL+SR+BL+BR)`, or `9 channels`.
_CHANNEL_LIST = re.compile(r"\d+ channels \(((?:\w+\+)*\w+)\)")
_CHANNEL_COUNT = re.compile(r"(\d+) channels")

Chain = tuple[tuple[str, dict[str, str]], ...]


def open_without_layout(stream: AudioStream) -> str:
    """Open a decoder without the container's channel layout, and return that layout's name.

    Decoders that read a better layout from the audio itself put it on their frames.
    """
    layout = stream.codec_context.layout
    _never_free(layout)
    if layout.nb_channels:
        # `C`: so many channels in an unknown order.
        stream.codec_context.options = {"ch_layout": f"{layout.nb_channels}C"}
    return layout.name


def describe_layout(frame: AudioFrame, container_layout: str) -> str:
    """Return the name of a frame's layout, or the container's if the decoder knows none."""
    name = frame.layout.name
    if _CHANNEL_LIST.match(name):
        _never_free(frame.layout)
    return container_layout if _CHANNEL_COUNT.fullmatch(name) else name


class StereoMixer:
    """Convert frames of one format to 48 kHz stereo; a single channel stays mono.

    FFmpeg's own matrix is used. Mono is not converted because FFmpeg would make it quieter. More than two channels
    are mixed without clipping. Where FFmpeg has no matrix, the first two channels become left and right.
    """

    def __init__(self, frame: AudioFrame, layout: str) -> None:
        channels = frame.layout.nb_channels
        out = "mono" if channels == 1 else "stereo"
        try:
            self._graph = _build_graph(frame, _filter_layout(layout, channels), out, _downmix(layout))
        except (FFmpegError, ValueError):
            first = "mono|c0=c0" if channels == 1 else "stereo|c0=c0|c1=c1"
            name = frame.layout.name
            unknown = f"{channels}C" if _CHANNEL_COUNT.fullmatch(name) else _filter_layout(name, channels)
            self._graph = _build_graph(frame, unknown, out, (("pan", {"args": first}),))

    def push(self, frame: AudioFrame | None) -> Iterator[AudioFrame]:
        """Push a frame, or None at the end, and yield what is ready."""
        self._graph.push(frame)
        while True:
            try:
                mixed = self._graph.pull()
            except (FrameNotReady, EndOfStream):
                return
            assert isinstance(mixed, AudioFrame)
            yield mixed


def _never_free(layout: AudioLayout) -> None:
    """Leak a layout of a few bytes, because freeing it frees another object's channel map."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(layout))


def _filter_layout(layout: str, channels: int) -> str:
    """Return the layout in the notation of filters.

    If only the number of channels is known, it is FFmpeg's default layout for that number.
    """
    channel_list = _CHANNEL_LIST.fullmatch(layout)
    if channel_list:
        return channel_list[1]
    return f"{channels}c" if _CHANNEL_COUNT.match(layout) else layout


def _downmix(layout: str) -> Chain:
    """Return the filters that go before the resampler: a stereo decoder for ambisonic audio.

    It gives what microphones that point to the left and to the right would record.
    """
    if layout.startswith("ambisonic"):
        return (("pan", {"args": "stereo|c0=0.5*c0+0.5*c1|c1=0.5*c0-0.5*c1"}),)
    return ()


def _build_graph(frame: AudioFrame, layout: str, out: str, downmix: Chain) -> Graph:
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
        *downmix,
        ("aresample", {"rematrix_maxval": "1.0"}),
        ("aformat", target),
        ("abuffersink", {}),
    )
    graph.link_nodes(*(graph.add(name, **arguments) for name, arguments in chain))
    graph.configure()
    return graph
