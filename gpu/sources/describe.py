"""Describe a source in its own process, which may crash without harm.

`python -m gpu.sources.describe` reads one line of JSON from standard input, `{"path"}` or `{"url"}`, and exits when
standard input is closed. Standard output gets one JSON object: `source`, or `error` (code, message, transient) as an
export would report it. Nothing is written to disk, and above MEMORY_BYTES of memory the process exits.
"""

import json
import logging
import os
import resource
import select
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from av.stream import Disposition
from pydantic import TypeAdapter, ValidationError

from callbacks.log_format import log_to_stderr
from gpu.errors import INTERNAL, OUT_OF_MEMORY, ExportError, failure_dict, failure_from
from gpu.memory import resident_memory_bytes
from gpu.sources.container import open_container
from gpu.sources.description import PictureTrack, SourceDescription
from gpu.sources.ffmpeg_listing import read_listing
from gpu.sources.source import Source, probe
from gpu.spec import LocalFile, RemoteObject
from gpu.transfer.http_client import MAX_TRANSFER_SECONDS
from gpu.transfer.objects import open_source

if TYPE_CHECKING:
    from gpu.transfer.range_reader import SourceLocation

MEMORY_BYTES = 1_536 * 2**20
# How much of a remote object may be read; to find its length, all its packets may have to be read.
MAX_REMOTE_BYTES = 2**30
_POLL_SECONDS = 0.1
_KEY = "source"

log = logging.getLogger(__name__)


def main() -> int:
    """Describe one source; return the exit status of the process."""
    return run_process(describe_source)


def run_process(describe_file: "Callable[[SourceLocation], Mapping[str, Any]]") -> int:
    """Read a request, answer it within the process's limits, and return the exit status."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    log_to_stderr(os.environ.get("LOG_FORMAT", "text"), logging.ERROR)
    try:
        request = TypeAdapter[LocalFile | RemoteObject](LocalFile | RemoteObject).validate_json(
            sys.stdin.buffer.readline()
        )
    except ValidationError:
        return 2
    threading.Thread(target=_watch, daemon=True).start()
    try:
        answer: dict[str, Any] = {"source": describe_file(open_request(request))}
    except ExportError as error:
        answer = {"error": failure_dict(failure_from(error))}
    except Exception:  # the edge of the process: the parent must get an answer to any failure
        log.exception("a source could not be described")
        answer = {"error": failure_dict(INTERNAL)}
    _write_answer(answer)
    return 0


def describe_source(location: "SourceLocation") -> SourceDescription:
    """Describe a source's video, its length and its tracks.

    Raises ExportError, as an export of the source would.
    """
    source = probe(location)
    return {
        "duration": round(source.duration, 3),
        "width": source.width,
        "height": source.height,
        "fps": round(float(source.rate), 3),
        "variable_fps": source.variable,
        "picture_tracks": _describe_video_tracks(source),
        "audio_tracks": [
            {
                "track": track.number,
                "codec": track.codec,
                "channels": track.channels,
                "sample_rate": track.sample_rate,
                "language": track.language,
                "title": track.title,
                "default": track.default,
                "readable": track.sample_rate is not None,
                "chosen": source.audio is not None and track.index in source.audio.indexes,
            }
            for track in source.tracks
        ],
    }


def _describe_video_tracks(source: Source) -> list[PictureTrack]:
    """Describe each video track; sizes are those of the coded picture, before rotation."""
    with open_container(source.path) as container:
        codecs = read_listing(container).codecs
        return [
            {
                "track": number,
                "codec": codecs.get(stream.index, "unknown"),
                "width": getattr(stream, "width", None),
                "height": getattr(stream, "height", None),
                "default": bool(stream.disposition & Disposition.default),
                "cover": bool(stream.disposition & Disposition.attached_pic),
                "chosen": stream.index == source.video,
            }
            for number, stream in enumerate(container.streams.video)
        ]


def open_request(request: LocalFile | RemoteObject) -> "SourceLocation":
    """Open the source of a request.

    Raises ExportError: source_missing, and the errors of a RangeSource.
    """
    if isinstance(request, RemoteObject):
        from gpu.transfer.limited_reader import open_limited

        return open_limited(request.url, max_bytes=MAX_REMOTE_BYTES, deadline_seconds=MAX_TRANSFER_SECONDS)
    return open_source(_KEY, {_KEY: request}, Path(os.devnull))


def _watch() -> None:
    """Exit when standard input is closed or memory is exceeded, even inside a decoder."""
    while not select.select([0], [], [], _POLL_SECONDS)[0]:
        if resident_memory_bytes() > MEMORY_BYTES:
            _write_answer({"error": failure_dict(OUT_OF_MEMORY)})
            os._exit(1)
    os._exit(1)


def _write_answer(answer: dict[str, Any]) -> None:
    """Write an answer with a single call, because two threads may write."""
    os.write(1, json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main())
