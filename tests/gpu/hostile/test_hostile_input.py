"""For any upload, an export ends in time with an output or a reason, and leaves no files."""

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain
from pathlib import Path
from threading import Thread

import pytest

from gpu.errors import ExportError
from tests.gpu.hostile.corpus import (
    FRAMES,
    SIDE,
    bombs,
    false_headers,
    mutants,
    noise,
    originals,
    other_formats,
    set_box_number,
)
from tests.gpu.hostile.pool import Outcome, try_files
from tests.gpu.run_pipeline import export

SEED = int(os.environ.get("HOSTILE_SEED", "20"))
ROUNDS = 8
STILL = [{"time": 0, "x": 0, "y": 0, "width": SIDE, "height": SIDE}]
# Reasons that a user with a broken file can act on; none of them is retried.
REASONS = {
    "source_unreadable",
    "source_unsupported",
    "source_truncated",
    "source_too_large",
    "no_video_stream",
    "decode_failed",
    "clip_outside_source",
    "crop_outside_source",
    "output_too_short",
    "output_too_long",
    "deadline_exceeded",
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The videos that the mutations start from."""
    return originals(tmp_path_factory.mktemp("originals"))


def check(outcomes: list[Outcome]) -> None:
    """Assert that all outcomes are acceptable, and name those that are not."""
    wrong = [outcome for outcome in outcomes if not outcome.is_acceptable]
    assert not wrong, f"seed {SEED}: {wrong}"
    reasons = Counter(outcome.answer["code"] for outcome in outcomes if "code" in outcome.answer)
    assert reasons.keys() <= REASONS, f"seed {SEED}: {reasons}"
    assert len({outcome.answer["files"] for outcome in outcomes}) == 1, "a file was left open"
    assert max(outcome.answer["megabytes"] for outcome in outcomes) < 400


def test_broken_videos(whole: dict[str, bytes], tmp_path: Path) -> None:
    outcomes = try_files(mutants(whole, ROUNDS, SEED), tmp_path)
    assert len(outcomes) == 200
    check(outcomes)
    exported = sum("frames" in outcome.answer for outcome in outcomes)
    assert 40 < exported < 160, "the mutations are too strong, or too weak, to tell anything"


def test_files_that_are_no_videos_or_have_false_headers(
    whole: dict[str, bytes], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("bombs")
    outcomes = try_files(chain(noise(SEED), other_formats(), false_headers(whole), bombs(folder)), tmp_path)
    assert len(outcomes) > 100
    check(outcomes)


@contextmanager
def serve(content: bytes) -> Iterator[tuple[str, list[str]]]:
    """Serve the file at every path; yield a URL and the list of requested paths."""
    requested_paths: list[str] = []

    class Route(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requested_paths.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the base class
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Route)
    Thread(target=server.serve_forever, args=(0.005,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/other.mp4", requested_paths
    finally:
        server.shutdown()
        server.server_close()


HLS = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n"
POINTERS = {
    "a playlist": HLS,
    "a playlist with a key": '#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="{0}"\n#EXTINF:1,\n{0}\n#EXT-X-ENDLIST\n',
    "a playlist of an init section": '#EXTM3U\n#EXT-X-MAP:URI="{0}"\n#EXTINF:1,\n{0}\n#EXT-X-ENDLIST\n',
    "a master playlist": "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{}\n",
    "a list of files": "ffconcat version 1.0\nfile '{}'\n",
    "a manifest": (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet>'
        '<Representation id="0" bandwidth="1"><BaseURL>{}</BaseURL></Representation></AdaptationSet></Period></MPD>'
    ),
    "a redirection": "[Reference]\nRef1={}\n",
    "an address": "{}",
    "a session": "v=0\nc=IN IP4 127.0.0.1\nm=video 0 RTP/AVP 96\na=control:{}\n",
}


@pytest.mark.parametrize("pointer", POINTERS.values(), ids=POINTERS)
@pytest.mark.parametrize(
    "way", ["{path}", "file:{path}", "concat:{path}|{path}", "subfile,,start,0,end,0,,:{path}", "{url}"]
)
def test_no_source_causes_another_file_to_be_read(
    whole: dict[str, bytes], tmp_path: Path, pointer: str, way: str
) -> None:
    other = tmp_path / "other.mp4"
    other.write_bytes(whole["plain.mp4"])
    upload = tmp_path / "upload.mp4"
    with serve(whole["plain.mp4"]) as (url, requested_paths):
        upload.write_text(pointer.format(way.format(path=other, url=url)))
        with pytest.raises(ExportError) as caught:
            export(upload, keyframes=STILL)
    assert caught.value.code == "source_unreadable"
    assert not requested_paths


def test_a_name_is_no_pattern(whole: dict[str, bytes], tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"frame-{number}.mp4").write_bytes(whole["plain.mp4"])
    with pytest.raises(ExportError) as caught:
        export(tmp_path / "frame-%d.mp4", keyframes=STILL)
    assert caught.value.code == "source_missing"


def test_a_recording_that_points_elsewhere_is_not_followed(whole: dict[str, bytes], tmp_path: Path) -> None:
    other = tmp_path / "other.mp4"
    other.write_bytes(whole["plain.mp4"])
    upload = tmp_path / "upload.mov"
    upload.write_bytes(refer_to_file(whole["plain.mp4"], str(other)))
    with pytest.raises(ExportError) as caught:
        export(upload, keyframes=STILL)
    assert caught.value.code == "decode_failed"


def refer_to_file(content: bytes, path: str) -> bytes:
    """Return an MP4 without its media, whose tracks refer to another file for it."""
    media_start = content.index(b"mdat") + 4
    hollow = content[:media_start] + bytes(len(content) - media_start)
    # A flag says that an entry's media is in this file; without it, an `alis` entry names the file.
    return hollow.replace(b"url \0\0\0\1", b"alis\0\0\0\0") + path.encode()


def test_what_cannot_be_sought_in_is_read_from_its_beginning(whole: dict[str, bytes], tmp_path: Path) -> None:
    source = tmp_path / "source.mov"
    # As if only the last frame were a keyframe.
    source.write_bytes(set_box_number(whole["phone.mov"], b"stss", 12, FRAMES))
    _, output, _ = export(source, keyframes=STILL, trim={"start": 0.1, "end": 0.2})
    assert output.duration == pytest.approx(0.1, abs=1 / 30)
