"""The content types of videos: by the suffix of a file name, and which ones the service accepts.

The table is our own: Python's lacks some of these, maps `.ts` to Qt translation files, and differs by machine.
"""

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
    ".ogg": "video/ogg",
    ".ogv": "video/ogg",
    ".qt": "video/quicktime",
    ".ts": "video/mp2t",
    ".vob": "video/mpeg",
    ".webm": "video/webm",
    ".wmv": "video/x-ms-wmv",
    ".y4m": "video/x-y4m",
}


def type_from_name(filename: str) -> str:
    """Return the content type of a video by the suffix of its name; unknown bytes for any other file."""
    return TYPES_BY_SUFFIX.get(PurePosixPath(filename).suffix.lower(), UNKNOWN_TYPE)
