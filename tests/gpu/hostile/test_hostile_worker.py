"""Hostile files in a worker process: it reports, ends in time, and leaves no files."""

import fcntl
import json
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path

import pytest

from tests.callbacks.scripted_server import Receiver, receiver
from tests.gpu.hostile.corpus import (
    SIDE,
    false_headers,
    mutants,
    noise,
    originals,
    other_formats,
    set_box_number,
)
from tests.gpu.worker_process import list_leftovers, start_worker, wait_exit

SEED, EVERY = 30, 11
STILL = [{"time": 0, "x": 0, "y": 0, "width": SIDE, "height": SIDE}]
SAMPLES = 40_000_000


@pytest.fixture
def service() -> Iterator[Receiver]:
    with receiver() as server:
        yield server


def run_worker(service: Receiver, source: Path) -> tuple[int, str, list[str]]:
    """Return the worker's exit status, `output` or the error's code, and the files it left."""
    status, line = wait_exit(start_worker(service, source, keyframes=STILL))
    terminal = json.loads(line)
    return status, "output" if "output" in terminal else terminal["error"]["code"], list_leftovers(source)


def test_a_worker_survives_what_it_is_given(service: Receiver, tmp_path: Path) -> None:
    whole = originals(tmp_path)
    files = chain(mutants(whole, 8, SEED), noise(SEED), other_formats(), false_headers(whole))
    sources = []
    for number, (name, content) in enumerate(islice(files, 0, None, EVERY)):
        sources.append(tmp_path / str(number) / name)
        sources[-1].parent.mkdir()
        sources[-1].write_bytes(content)
    with ThreadPoolExecutor(2) as pool:
        endings = list(pool.map(lambda source: run_worker(service, source), sources))
    assert len(endings) >= 30
    for source, (status, result, leftovers) in zip(sources, endings, strict=True):
        assert (status, leftovers) == (0, ["output.mp4", "scratch"] if result == "output" else ["scratch"]), (
            source.name
        )
        assert result != "internal_error", source.name


def test_a_tiny_file_that_takes_all_memory_is_ended(service: Receiver, tmp_path: Path) -> None:
    plain = originals(tmp_path)["plain.mp4"]
    source = tmp_path / "bomb" / "bomb.mp4"
    source.parent.mkdir()
    # One chunk of forty million samples of one byte: its index takes 1.5 GB.
    source.write_bytes(
        set_box_number(
            set_box_number(set_box_number(plain, b"stsz", 8, 1), b"stsz", 12, SAMPLES), b"stsc", 16, SAMPLES
        )
    )
    status, _ = wait_exit(start_worker(service, source, memory_megabytes=400))
    error = service.take_all()[-1].callback.data.error
    assert error is not None
    assert (status, error.code, error.transient) == (124, "out_of_memory", False)
    assert list_leftovers(source) == ["scratch"]


@contextmanager
def hold_lease(path: Path) -> Iterator[None]:
    """Take a lease on the file, so that opening it blocks in the kernel for about 45 seconds."""
    before = signal.signal(
        signal.SIGIO, signal.SIG_IGN
    )  # the signal by which the kernel asks for the lease back
    try:
        with path.open("rb") as file:  # closing it releases the lease
            try:
                fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
            except (AttributeError, OSError):
                pytest.skip("no leases on this system")
            yield
    finally:
        signal.signal(signal.SIGIO, before)


def test_a_decoder_that_hangs_is_ended_by_the_deadline(service: Receiver, tmp_path: Path) -> None:
    content = originals(tmp_path)["plain.mp4"]
    source = tmp_path / "hung" / "source.mp4"
    source.parent.mkdir()
    source.write_bytes(content)
    with hold_lease(source):
        status, _ = wait_exit(start_worker(service, source, deadline_seconds=2.0))
    error = service.take_all()[-1].callback.data.error
    assert error is not None
    assert (status, error.code) == (124, "deadline_exceeded")
    assert list_leftovers(source) == ["scratch"]
