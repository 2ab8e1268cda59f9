"""The content types of videos: which the service accepts, and which one the suffix of a file name means.

The table is our own: Python's lacks some of these, maps `.ts` to Qt translation files, and differs by machine.
"""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

UNKNOWN_TYPE: Final = "application/octet-stream"
TYPES_BY_SUFFIX: Final = {
    ".3g2": "video/3gpp2",
    ".3gp": "video/3gpp",
    ".264": "video/h264",
    ".265": "video/h265",
    ".apng": "image/apng",
    ".asf": "video/x-ms-asf",
    ".avi": "video/x-msvideo",
    ".dv": "video/x-dv",
    ".flv": "video/x-flv",
    ".gif": "image/gif",
    ".h264": "video/h264",
    ".h265": "video/h265",
    ".hevc": "video/h265",
    ".ivf": "video/x-ivf",
    ".m2t": "video/mp2t",
    ".m2ts": "video/mp2t",
    ".m2v": "video/mpeg",
    ".m4v": "video/x-m4v",
    ".mkv": "video/x-matroska",
    ".mov": "video/quicktime",
    ".mp4": "video/mp4",
    ".mpeg": "video/mpeg",
    ".mpg": "video/mpeg",
    ".mts": "video/mp2t",
    ".mxf": "application/mxf",
    ".nut": UNKNOWN_TYPE,
    ".obu": "video/av1",
    ".ogv": "video/ogg",
    ".qt": "video/quicktime",
    ".ts": "video/mp2t",
    ".vob": "video/mpeg",
    ".webm": "video/webm",
    ".wmv": "video/x-ms-wmv",
    ".y4m": "video/x-y4m",
}
OTHER_TYPES: Final = frozenset({"image/gif", "image/apng", "application/mxf"})
"""The types of videos that do not begin with `video/`."""

_MEDIA_TYPE: Final = re.compile(r"[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+")
# Systems without a better type for a file say one of these, or take MPEG-TS for the source of another program.
_VAGUE_TYPES: Final = frozenset({"text/vnd.trolltech.linguist", "text/typescript", "text/x-typescript"})
_VAGUE_KINDS: Final = ("application/", "binary/", "x-")


class NoVideoType(Exception):
    """Neither the content type nor the name of a file is one of a video."""


@dataclass(frozen=True)
class VideoType:
    """The content type of an upload; `declared` is what its sender sends with the bytes, None if that is unknown."""

    media_type: str
    declared: str | None


def type_from_name(filename: str) -> str:
    """Return the content type of a video by the suffix of its name; unknown bytes for any other file."""
    return TYPES_BY_SUFFIX.get(_suffix(filename), UNKNOWN_TYPE)


def find_video_type(filename: str, content_type: str) -> VideoType:
    """Return the type of a file by its declared type, or by its name if that says nothing; raises NoVideoType.

    A browser sends the type of a Blob as it is, with parameters (`video/webm;codecs=vp9`), and none if it is empty.
    """
    declared = content_type.strip()
    media_type = declared.partition(";")[0].strip().lower()
    if media_type in OTHER_TYPES or (media_type.startswith("video/") and _MEDIA_TYPE.fullmatch(media_type)):
        return VideoType(media_type, declared if declared.isascii() and declared.isprintable() else None)
    if _is_vague(media_type) and _suffix(filename) in TYPES_BY_SUFFIX:
        return VideoType(type_from_name(filename), None)
    raise NoVideoType


def describe_accepted_types() -> str:
    """Say which files can be uploaded."""
    suffixes = ", ".join(sorted(TYPES_BY_SUFFIX))
    return (
        f"Accepted are video/* (with any parameters), {', '.join(sorted(OTHER_TYPES))}, and, where the type is empty "
        f"or {UNKNOWN_TYPE}, names that end in {suffixes}."
    )


def _is_vague(media_type: str) -> bool:
    is_malformed = not _MEDIA_TYPE.fullmatch(media_type)
    return is_malformed or media_type in _VAGUE_TYPES or media_type.startswith(_VAGUE_KINDS)


def _suffix(filename: str) -> str:
    return PurePosixPath(filename.replace("\\", "/").strip().rstrip(".")).suffix.lower()
