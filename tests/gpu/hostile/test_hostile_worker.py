"""Hostile files in the process that the service would start: it reports, ends in time, and leaves nothing."""

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
from tests.gpu.hostile.corpus import SIDE, liars, mutants, noise, originals, strangers, told
from tests.gpu.worker_process import list_leftovers, start_worker, wait_exit

SEED, EVERY = 30, 11
STILL = [{"time": 0, "x": 0, "y": 0, "width": SIDE, "height": SIDE}]
SAMPLES = 40_000_000


@pytest.fixture
def service() -> Iterator[Receiver]:
    with receiver() as listening:
        yield listening


def ending(service: Receiver, source: Path) -> tuple[int, str, list[str]]:
    """The worker's exit status, `output` or the error's code, and what it left."""
    status, said = wait_exit(start_worker(service, source, keyframes=STILL))
    terminal = json.loads(said)
    return status, "output" if "output" in terminal else terminal["error"]["code"], list_leftovers(source)


def test_a_worker_survives_what_it_is_given(service: Receiver, tmp_path: Path) -> None:
    whole = originals(tmp_path)
    files = chain(mutants(whole, 8, SEED), noise(SEED), strangers(), liars(whole))
    sources = []
    for number, (name, content) in enumerate(islice(files, 0, None, EVERY)):
        sources.append(tmp_path / str(number) / name)
        sources[-1].parent.mkdir()
        sources[-1].write_bytes(content)
    with ThreadPoolExecutor(2) as pool:
        endings = list(pool.map(lambda source: ending(service, source), sources))
    assert len(endings) >= 30
    for source, (status, how, beside) in zip(sources, endings, strict=True):
        assert (status, beside) == (0, ["output.mp4", "scratch"] if how == "output" else ["scratch"]), (
            source.name
        )
        assert how != "internal_error", source.name


def test_a_tiny_file_that_takes_all_memory_is_ended(service: Receiver, tmp_path: Path) -> None:
    plain = originals(tmp_path)["plain.mp4"]
    source = tmp_path / "bomb" / "bomb.mp4"
    source.parent.mkdir()
    # One chunk of forty million samples of a byte each: a gigabyte and a half of index.
    source.write_bytes(told(told(told(plain, b"stsz", 8, 1), b"stsz", 12, SAMPLES), b"stsc", 16, SAMPLES))
    status, _ = wait_exit(start_worker(service, source, memory_megabytes=400))
    error = service.take_all()[-1].callback.data.error
    assert error is not None
    assert (status, error.code, error.transient) == (124, "out_of_memory", False)
    assert list_leftovers(source) == ["scratch"]


@contextmanager
def leased(path: Path) -> Iterator[None]:
    """While this lasts, whoever opens the file waits, deep in the system, for the better part of a minute."""
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)  # how the system asks for the lease back
    try:
        with path.open("rb") as file:  # closing it gives the lease back
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
    with leased(source):
        status, _ = wait_exit(start_worker(service, source, deadline_seconds=2.0))
    error = service.take_all()[-1].callback.data.error
    assert error is not None
    assert (status, error.code) == (124, "deadline_exceeded")
    assert list_leftovers(source) == ["scratch"]
