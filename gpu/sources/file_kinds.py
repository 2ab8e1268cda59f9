"""The supported kinds of files, and signatures that identify common unsupported ones."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from gpu.errors import ExportError

if TYPE_CHECKING:
    from gpu.transfer.range_reader import SourceLocation

DEMUXERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg,mxf,h264,hevc,obu,ivf,nut,wav,mp3,"
    "mpegvideo,m4v,dv,yuv4mpegpipe,gif,apng"
)
"""FFmpeg's names of the formats that are read.

Playlists and image patterns are not among them: they would open other files or URLs that they name.
"""

SUPPORTED = (
    "MP4, MOV, MKV, WebM, AVI, MPEG-TS, MPEG-PS, FLV, WMV, Ogg, MXF, NUT, IVF, DV, Y4M, GIF, animated PNG, "
    "and bare H.264, HEVC, AV1, MPEG-2 and MPEG-4 streams"
)
_HEAD_BYTES = 64
_UNSUPPORTED_SIGNATURES = (
    (rb"\x89PNG\r\n\x1a\n", "a PNG image"),
    (rb"\xff\xd8\xff", "a JPEG image"),
    (rb"RIFF....WEBP", "a WebP image"),
    (rb"....ftyp(heic|heix|hevc|heim|heis|mif1|msf1)", "an HEIF image"),
    (rb"....ftypavi[fs]", "an AVIF image"),
    (rb"BM....\0\0\0\0", "a BMP image"),
    (rb"II\*\0|MM\0\*", "a TIFF image"),
    (rb"8BPS", "a Photoshop file"),
    (rb"\.RMF|\.REC", "RealMedia"),
    (rb"....RED[12]", "RED raw video"),
    (rb"[FCZ]WS[\x01-\x30]", "Flash"),
    (rb"BIK[a-k]|KB2[a-k]|SMK[24]", "a game's video"),
    (rb"\xb7\xd8\x00\x20\x37\x49\xda\x11\xa6\x4e\x00\x07\xe9\x5e\xad\x8d", "Windows recorded TV"),
    (rb"fLaC|caff|MThd|#!AMR|FORM....AIF[FC]|\xff[\xf1\xf9]", "a sound file"),
    (rb"%PDF", "a PDF document"),
    (rb"PK\x03\x04|Rar!|7z\xbc\xaf|\x1f\x8b", "an archive"),
)


def check_supported(location: "SourceLocation") -> None:
    """Raise source_unsupported for a file that is recognized as an unsupported kind."""
    with Path(location).open("rb") if isinstance(location, str) else location.open() as file:
        head = file.read(_HEAD_BYTES) or b""
    for pattern, name in _UNSUPPORTED_SIGNATURES:
        if re.match(pattern, head, re.DOTALL):
            raise source_unsupported(f"This kind of file is not supported: it is {name}.")


def source_unsupported(reason: str) -> ExportError:
    """Return the error for a file that is not damaged, but of a kind that is not supported."""
    return ExportError("source_unsupported", f"{reason} Supported formats: {SUPPORTED}.")
