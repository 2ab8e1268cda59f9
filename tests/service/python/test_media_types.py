"""The table of media types, which the service must know, too."""

from pathlib import Path

import pytest

from framehook.transfers.media_types import content_type_of, is_named_as_video
from service.api.transfers.uploads import UNKNOWN_SUFFIXES, UNKNOWN_TYPE, VIDEO_TYPES


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.MP4", "video/mp4"),
        ("a.mkv", "video/x-matroska"),
        ("a.ts", "video/mp2t"),
        ("a", "application/octet-stream"),
    ],
)
def test_the_suffix_gives_the_media_type(name: str, expected: str) -> None:
    assert content_type_of(name) == expected


def test_every_media_type_that_the_service_accepts_has_a_suffix_of_a_video() -> None:
    named = {content_type_of(f"a{suffix}") for suffix in (".gif", ".apng", ".mxf", ".nut", ".mp4", ".y4m")}
    assert named <= VIDEO_TYPES | {UNKNOWN_TYPE}
    assert all(
        is_named_as_video(Path(f"a{suffix}")) for suffix in (*UNKNOWN_SUFFIXES, ".gif", ".APNG", ".mxf")
    )


@pytest.mark.parametrize("name", ["a", "a.txt", "a.png", "a.mp3", "a.zip"])
def test_other_suffixes_are_not_videos(name: str) -> None:
    assert not is_named_as_video(Path(name))
