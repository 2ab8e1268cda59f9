"""Processes that each try many hostile files; a crash or a hang of one is an ending like any other, and counted."""

import json
import selectors
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True)
class Ending:
    """How the export of a file ended, and what lay beside the file afterwards."""

    name: str
    answer: dict[str, Any]
    left: frozenset[str]

    @property
    def fine(self) -> bool:
        """An output and nothing else, or a code and nothing else."""
        kept = {"output"} if self.answer.get("frames") else set()
        return bool(self.answer.get("frames") or self.answer.get("code")) and self.left == kept


class Child:
    """One process, started anew after it crashed or hung."""

    def __init__(self) -> None:
        self._process = self._started()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def ask(self, source: Path) -> dict[str, Any]:
        """The child's answer, or how it went down."""
        pipes = self._process
        assert pipes.stdin is not None
        assert pipes.stdout is not None
        pipes.stdin.write(f"{source}\n".encode())
        pipes.stdin.flush()
        with selectors.DefaultSelector() as waiting:
            waiting.register(pipes.stdout, selectors.EVENT_READ)
            said = pipes.stdout.readline() if waiting.select(TIMEOUT_SECONDS) else None
        if said:
            answer: dict[str, Any] = json.loads(said)
            return answer
        self._end()
        self._process = self._started()
        return {"hung": True} if said is None else {"crashed": pipes.returncode}

    def _started(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.gpu.hostile.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def _end(self) -> None:
        with self._process as process:
            process.kill()


def endings(files: Iterable[tuple[str, bytes]], folder: Path, *, children: int = 2) -> list[Ending]:
    """Every file tried, in a folder of its own."""
    waiting = iter(list(enumerate(files)))  # a generator can't be drawn from by two at once
    with ThreadPoolExecutor(children) as pool:
        found = [pool.submit(_tried, waiting, folder) for _ in range(children)]
        return [ending for future in found for ending in future.result()]


def _tried(waiting: Iterator[tuple[int, tuple[str, bytes]]], folder: Path) -> list[Ending]:
    found = []
    with Child() as child:
        for number, (name, content) in waiting:
            place = folder / str(number)
            place.mkdir()
            source = place / name
            source.write_bytes(content)
            answer = child.ask(source)
            source.unlink()
            found.append(Ending(name, answer, frozenset(path.name for path in place.iterdir())))
    return found
