"""The media type of a video by the suffix of its name."""

import mimetypes
from pathlib import Path

_UNKNOWN_TYPE = "application/octet-stream"
# Python's own table lacks some of these, and maps `.ts` to Qt translation files.
_VIDEO_TYPES = {
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
    ".m2v": "video/mpeg",
    ".m2ts": "video/mp2t",
    ".m4v": "video/x-m4v",
    ".mkv": "video/x-matroska",
    ".mov": "video/quicktime",
    ".mp4": "video/mp4",
    ".mpeg": "video/mpeg",
    ".mpg": "video/mpeg",
    ".mts": "video/mp2t",
    ".mxf": "application/mxf",
    ".nut": _UNKNOWN_TYPE,
    ".obu": "video/av1",
    ".ogv": "video/ogg",
    ".ts": "video/mp2t",
    ".vob": "video/mpeg",
    ".webm": "video/webm",
    ".wmv": "video/x-ms-wmv",
    ".y4m": "video/x-y4m",
}


def content_type_of(name: str) -> str:
    """Return the media type of the suffix of the file name."""
    guessed = _VIDEO_TYPES.get(Path(name).suffix.lower()) or mimetypes.guess_type(name)[0]
    return guessed or _UNKNOWN_TYPE


def is_named_as_video(path: Path) -> bool:
    """Tell whether the suffix is that of a video that the service accepts.

    Some of these have image or application types.
    """
    return path.suffix.lower() in _VIDEO_TYPES or content_type_of(path.name).startswith("video/")
