"""Compare exports in chunks on Modal with the same in one piece; find the processes that encode chunks."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np

from infra.modal_local import ModalLocal
from tests.gpu.chunks.chunk_comparison import STILL, DecodedVideo, chunk_processes, export_split
from tests.support.videos import read_samples

SPLIT: dict[str, Any] = {"keyframes": STILL, "quality": "high"}


def export_whole(source: bytes, folder: Path) -> Path:
    """Export in one piece, without Modal."""
    copy = folder / "source.mp4"
    copy.write_bytes(source)
    return export_split(copy, 1, **SPLIT)[0]


def assert_same_video(joined: Path, whole: Path) -> None:
    expected, actual = DecodedVideo.of(whole), DecodedVideo.of(joined)
    assert (actual.times, actual.lengths) == (expected.times, expected.lengths)
    assert all(itertools.starmap(np.array_equal, zip(expected.pictures, actual.pictures, strict=True)))
    assert np.array_equal(read_samples(whole), read_samples(joined))


def busy_containers() -> dict[int, list[int]]:
    """Return the containers of this process's control planes that encode chunks, with their chunk processes."""
    containers = {}
    for listed in Path("/proc/self/task").glob("*/children"):
        for container in map(int, listed.read_text().split()):
            if processes := _chunk_processes_of(container):
                containers[container] = processes
    return containers


def _chunk_processes_of(pid: int) -> list[int]:
    try:
        return chunk_processes(pid)
    except OSError:  # it has just ended
        return []


def chunk_calls(plane: ModalLocal) -> list[str]:
    """Return the ids of the running calls that encode chunks."""
    calls, scheduler = plane.fault_api._calls, plane.fault_api._scheduler
    functions = scheduler._apps.functions
    running = [entry.call for entry in calls._open.values()]
    chunks = [call.id for call in running if functions[call.function_id].name == "encode_chunk"]
    return [call_id for call_id in chunks if scheduler.find_containers(call_id)]


def scratch(plane: ModalLocal) -> list[Path]:
    """Return the folders that exports have left on the disks of the plane's containers."""
    processes = plane.fault_api._scheduler._processes
    assert processes is not None
    return list(processes._sockets.glob("*/framehook-*"))
