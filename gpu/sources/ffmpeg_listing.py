"""What FFmpeg's own listing of a file tells that PyAV has no attribute for: programmes, and channels of sound.

PyAV's `layout` of a custom channel layout frees memory that it does not own, so it is not read from files.
"""

import re
from dataclasses import dataclass
from typing import cast

from av import logging
from av.container import InputContainer

_HEADING = re.compile(r"  (?:Program \d+ |No Program)")
_PROGRAMME = "  Program"
_STREAM = re.compile(r"  Stream #0:(\d+)[^:]*(?:\([^)]*\))?: (\w+): (.*)")
_NAME_END = re.compile(r"[ ,]")
_RATE = re.compile(r"\d+ Hz, ([^,]+)")
_COUNTED = re.compile(r"(\d+) channels|(\d+)\.(\d)(?:\.(\d))?")
_NAMED = {
    "mono": 1, "stereo": 2, "downmix": 2, "binaural": 2, "quad": 4, "quad(side)": 4, "hexagonal": 6,
    "octagonal": 8, "cube": 8, "hexadecagonal": 16,
}  # fmt: skip


@dataclass(frozen=True)
class Listing:
    """Codecs of all streams and channels of sound by the streams' indexes, pictures and programmes as such indexes."""

    codecs: dict[int, str]
    channels: dict[int, int]
    programmes: tuple[frozenset[int], ...]
    pictures: frozenset[int] = frozenset()

    def find_programme(self, index: int) -> frozenset[int] | None:
        """The streams of a stream's own programme; None where it has none, and so belongs to all others."""
        return next((programme for programme in self.programmes if index in programme), None)


def read_listing(container: InputContainer) -> Listing:
    """List a file that is open. Lines of metadata never look like these: each has its key before it."""
    codecs: dict[int, str] = {}
    channels: dict[int, int] = {}
    programmes: list[set[int]] = []
    pictures: set[int] = set()
    current: set[int] = set()
    for line in _describe(container).splitlines():
        if _HEADING.match(line):
            current = set()
            if line.startswith(_PROGRAMME):
                programmes.append(current)
        elif stream := _STREAM.match(line):
            current.add(int(stream[1]))
            codecs[int(stream[1])] = _NAME_END.split(stream[3], maxsplit=1)[0]
            if stream[2] == "Video":
                pictures.add(int(stream[1]))
            if stream[2] == "Audio":
                channels[int(stream[1])] = _channels(stream[3])
    return Listing(codecs, channels, tuple(map(frozenset, programmes)), frozenset(pictures))


def _describe(container: InputContainer) -> str:
    """FFmpeg's listing, which comes by its log, so that has to be on meanwhile."""
    level = logging.get_level()
    logging.set_level(logging.INFO)
    try:
        return cast(str, container.dumps_format())  # type: ignore[attr-defined]
    finally:
        logging.set_level(level)


def _channels(description: str) -> int:
    """How many channels a description names: `48000 Hz, 5.1(side), fltp`; 0 where it does not say."""
    named = _RATE.search(description)
    if named is None:
        return 0
    name = named[1].strip()
    counted = _COUNTED.match(name)
    if counted is None:
        return _NAMED.get(name, 0)
    return int(counted[1] or 0) or sum(int(part or 0) for part in counted.groups()[1:])
