"""An export that changes nothing: the source's bytes handed on, and when they may be."""

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from gpu.errors import failing_as
from gpu.source import Source, open_container

_CHUNK_BYTES = 4 * 1024 * 1024
_QUICKTIME = "qt  "
_LOCATING = ("location", "gps", "xyz")


@dataclass(frozen=True)
class Copy:
    """What a format plans when the output is its source: nothing is decoded or encoded."""

    source: Source


def shareable(source: Source) -> bool:
    """Whether a source may be handed on as it is: an MP4 of pictures and sound that doesn't tell where it was filmed.

    Cameras write the place into tags, and tracks of it into streams of data.
    """
    with open_container(source.path) as container:
        brand = container.metadata.get("major_brand", _QUICKTIME)
        tags = [*container.metadata, *(tag for stream in container.streams for tag in stream.metadata)]
        plain = all(stream.type in {"video", "audio"} for stream in container.streams)
    return (
        plain and brand != _QUICKTIME and not any(word in tag.lower() for tag in tags for word in _LOCATING)
    )


def copied(copy: Copy, made: Path) -> Generator[float, None, Path]:
    """A file with the source's bytes: the source itself, or `made` if that lies elsewhere; yields the share read."""
    place = copy.source.path
    if isinstance(place, str):
        return Path(place)
    with (
        failing_as("scratch_unwritable", "The machine has no room for the source.", transient=True),
        place.open() as source,
        made.open("wb") as target,
    ):
        while chunk := source.read(_CHUNK_BYTES):
            target.write(chunk)
            yield target.tell() / place.size
    return made
