"""Read programmes and channels from FFmpeg's listing; PyAV has no attributes for them.

PyAV's `layout` of a custom channel layout frees memory that it does not own, so it is not read from files.
"""

import re
from dataclasses import dataclass
from typing import cast

from av import logging
from av.container import InputContainer

_PROGRAMME_HEADING = re.compile(r"  (?:Program \d+ |No Program)")
_PROGRAMME = "  Program"
_STREAM = re.compile(r"  Stream #0:(\d+)[^:]*(?:\([^)]*\))?: (\w+): (.*)")
_NAME_END = re.compile(r"[ ,]")
_RATE = re.compile(r"\d+ Hz, ([^,]+)")
_CHANNEL_COUNT = re.compile(r"(\d+) channels|(\d+)\.(\d)(?:\.(\d))?")
_CHANNELS_BY_NAME = {
    "mono": 1, "stereo": 2, "downmix": 2, "binaural": 2, "quad": 4, "quad(side)": 4, "hexagonal": 6,
    "octagonal": 8, "cube": 8, "hexadecagonal": 16,
}  # fmt: skip


@dataclass(frozen=True)
class Listing:
    """Codecs and channel counts by stream index; video streams and programmes as indexes."""

    codecs: dict[int, str]
    channels: dict[int, int]
    programmes: tuple[frozenset[int], ...]
    video_streams: frozenset[int] = frozenset()

    def find_programme(self, index: int) -> frozenset[int] | None:
        """Return the streams of a stream's programme, or None if it belongs to all of them."""
        return next((programme for programme in self.programmes if index in programme), None)


def read_listing(container: InputContainer) -> Listing:
    """Return the listing of an open file.

    Lines of metadata can't be mistaken for streams, because each begins with its key.
    """
    codecs: dict[int, str] = {}
    channels: dict[int, int] = {}
    programmes: list[set[int]] = []
    video_streams: set[int] = set()
    current: set[int] = set()
    for line in _describe(container).splitlines():
        if _PROGRAMME_HEADING.match(line):
            current = set()
            if line.startswith(_PROGRAMME):
                programmes.append(current)
        elif stream := _STREAM.match(line):
            current.add(int(stream[1]))
            codecs[int(stream[1])] = _NAME_END.split(stream[3], maxsplit=1)[0]
            if stream[2] == "Video":
                video_streams.add(int(stream[1]))
            if stream[2] == "Audio":
                channels[int(stream[1])] = _count_channels(stream[3])
    return Listing(codecs, channels, tuple(map(frozenset, programmes)), frozenset(video_streams))


def _describe(container: InputContainer) -> str:
    """Return FFmpeg's listing; FFmpeg writes it to its log, so the log is switched on for it."""
    level = logging.get_level()
    logging.set_level(logging.INFO)
    try:
        return cast(str, container.dumps_format())  # type: ignore[attr-defined]
    finally:
        logging.set_level(level)


def _count_channels(description: str) -> int:
    """Return how many channels a description has, such as `48000 Hz, 5.1(side), fltp`."""
    layout = _RATE.search(description)
    if layout is None:
        return 0
    name = layout[1].strip()
    count = _CHANNEL_COUNT.match(name)
    if count is None:
        return _CHANNELS_BY_NAME.get(name, 0)
    return int(count[1] or 0) or sum(int(part or 0) for part in count.groups()[1:])
