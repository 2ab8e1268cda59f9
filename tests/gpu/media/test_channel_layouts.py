"""Audio of every channel layout is mixed to stereo by its speakers, without a crash."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.callbacks.scripted_server import Receiver, receiver
from tests.gpu.worker_process import start_worker, wait_exit
from tests.support.videos import SOUND_RATE, Video, dot, frame_times, read_samples, write_video

SECONDS = 0.5
LOW, HIGH = 300, 2_000
# Layouts of MOV in other orders than FFmpeg's: the name for FFmpeg's encoder, the tag, the order of speakers.
ORDERS = {
    "7.1 of film": ("7.1", 128, "L R C LFE Ls Rs Rls Rrs"),
    "5.1 of film": ("5.1", 124, "C L R Ls Rs LFE"),
    "5.1 with the surrounds first": ("5.1", 122, "L R Ls Rs C LFE"),
    "6.1": ("6.1", 125, "L R C LFE Ls Rs Cs"),
}


@pytest.fixture
def service() -> Iterator[Receiver]:
    with receiver() as server:
        yield server


def sine(frequency: int) -> NDArray[np.float32]:
    times = np.arange(round(SECONDS * SOUND_RATE)) / SOUND_RATE
    return (0.5 * np.sin(2 * np.pi * frequency * times)).astype(np.float32)


def write_recording(path: Path, layout: str, channels: int, tones: dict[int, int]) -> Path:
    """Write a video with a tone on some channels and silence on the others."""
    tone = np.zeros((channels, round(SECONDS * SOUND_RATE)), np.float32)
    for channel, frequency in tones.items():
        tone[channel] = sine(frequency)
    video = Video(lambda _: dot(160, 90), frame_times(SECONDS), tone, layout, sound_codec="pcm_s16le")
    return write_video(path, video)


def relabel(path: Path, tag: int) -> Path:
    """Change the file's channel order to that of a Core Audio tag."""
    content = bytearray(path.read_bytes())
    begin = content.index(b"chan") + 8
    content[begin : begin + 12] = struct.pack(">III", tag, 0, 0)
    path.write_bytes(content)
    return path


def export_in_worker(service: Receiver, source: Path) -> Path:
    """Export in a worker process, which must not crash, and return the output."""
    status, output_line = wait_exit(start_worker(service, source))
    assert status == 0
    assert "output" in json.loads(output_line)
    return source.with_name("output.mp4")


def tone_levels(path: Path) -> NDArray[np.float64]:
    """Return the level of both tones (columns) on the left and on the right (rows)."""
    samples = read_samples(path)[:, 2_048:-2_048]
    times = np.arange(samples.shape[1]) / SOUND_RATE
    waves = np.exp(-2j * np.pi * np.outer((LOW, HIGH), times))
    levels: NDArray[np.float64] = np.abs(samples @ waves.T) * 2 / samples.shape[1]
    return levels


@pytest.mark.parametrize("order", ORDERS)
def test_speakers_in_an_order_of_the_files_own_are_heard_on_their_sides(
    service: Receiver, tmp_path: Path, order: str
) -> None:
    layout, tag, names = ORDERS[order]
    speakers = names.split()
    tones = {speakers.index("Ls"): LOW, speakers.index("C"): HIGH}
    source = write_recording(tmp_path / "source.mov", layout, len(speakers), tones)
    left, right = tone_levels(export_in_worker(service, relabel(source, (tag << 16) | len(speakers))))
    assert left[0] > 0.02
    assert left[0] > 10 * right[0]
    assert left[1] == pytest.approx(right[1], rel=0.05)
    assert left[1] > 0.02


@pytest.mark.parametrize("channels", [3, 9])
def test_channels_that_nobody_named_are_left_and_right_at_first(
    service: Receiver, tmp_path: Path, channels: int
) -> None:
    source = write_recording(tmp_path / "source.mov", "mono", 1, {0: LOW})
    source = write_recording(tmp_path / "source.mkv", f"{channels}C", channels, {0: LOW, 1: HIGH})
    left, right = tone_levels(export_in_worker(service, source))
    assert left[0] > 10 * left[1]
    assert right[1] > 10 * right[0]


def test_an_ambisonic_recording_is_heard_from_its_sides(service: Receiver, tmp_path: Path) -> None:
    times = frame_times(SECONDS)
    tone = np.stack([sine(LOW), sine(LOW), np.zeros_like(sine(LOW)), np.zeros_like(sine(LOW))])
    video = Video(
        lambda _: dot(160, 90),
        times,
        tone,
        "ambisonic 1",
        sound_codec="libopus",
        sound_options=(("mapping_family", "2"),),
    )
    left, right = tone_levels(export_in_worker(service, write_video(tmp_path / "source.mkv", video)))
    assert left[0] > 0.2
    assert left[0] > 10 * right[0]
