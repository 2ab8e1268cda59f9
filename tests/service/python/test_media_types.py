"""The table of media types, which the service must know, too."""

from pathlib import Path

import pytest

from framehook.transfers.media_types import content_type_of, is_named_as_video
from service.video_types import TYPES_BY_SUFFIX, find_video_type


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


@pytest.mark.parametrize("suffix", TYPES_BY_SUFFIX)
def test_every_suffix_that_the_service_accepts_is_one_of_a_video(suffix: str) -> None:
    name = f"a{suffix}"
    assert is_named_as_video(Path(name.upper()))
    assert find_video_type(name, content_type_of(name)).media_type == content_type_of(name)


@pytest.mark.parametrize("name", ["a", "a.txt", "a.png", "a.mp3", "a.zip"])
def test_other_suffixes_are_not_videos(name: str) -> None:
    assert not is_named_as_video(Path(name))
