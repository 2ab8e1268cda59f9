"""Split exports on Modal beside the same unsplit on this machine, and the processes that make their pieces."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np

from infra.modal_local import ModalLocal
from tests.gpu.chunks.chunk_comparison import STILL, Film, children, made
from tests.support.videos import read_samples

SPLIT: dict[str, Any] = {"keyframes": STILL, "quality": "high"}


def unsplit(source: bytes, folder: Path) -> Path:
    """The export in one piece, without Modal."""
    copy = folder / "source.mp4"
    copy.write_bytes(source)
    return made(copy, 1, **SPLIT)[0]


def assert_alike(joined: Path, whole: Path) -> None:
    expected, actual = Film.of(whole), Film.of(joined)
    assert (actual.times, actual.lengths) == (expected.times, expected.lengths)
    assert all(itertools.starmap(np.array_equal, zip(expected.pictures, actual.pictures, strict=True)))
    assert np.array_equal(read_samples(whole), read_samples(joined))


def at_work() -> dict[int, list[int]]:
    """The containers of this process's control planes that make pieces, each with the processes that it has for it."""
    found = {}
    for listed in Path("/proc/self/task").glob("*/children"):
        for container in map(int, listed.read_text().split()):
            if makers := _pieces_of(container):
                found[container] = makers
    return found


def _pieces_of(pid: int) -> list[int]:
    try:
        return children(pid)
    except OSError:  # it ended just now
        return []


def piece_calls(plane: ModalLocal) -> list[str]:
    """The calls for pieces that have not ended, and are being made."""
    calls, scheduler = plane.fault_api._calls, plane.fault_api._scheduler
    functions = scheduler._apps.functions
    asked = [each.call for each in calls._open.values()]
    pieces = [call.id for call in asked if functions[call.function_id].name == "encode_chunk"]
    return [call_id for call_id in pieces if scheduler.running(call_id)]


def scratch(plane: ModalLocal) -> list[Path]:
    """Return the folders that exports have left on the disks of the plane's containers."""
    processes = plane.fault_api._scheduler._processes
    assert processes is not None
    return list(processes._sockets.glob("*/framehook-*"))
