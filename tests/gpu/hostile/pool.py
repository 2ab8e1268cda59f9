"""Export hostile files in child processes; a crash or a hang is recorded as an outcome."""

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
class Outcome:
    """How the export of a file ended, and which files it left."""

    name: str
    answer: dict[str, Any]
    leftovers: frozenset[str]

    @property
    def is_acceptable(self) -> bool:
        """Whether there is an output or an error code, and no other file is left."""
        expected = {"output"} if self.answer.get("frames") else set()
        return bool(self.answer.get("frames") or self.answer.get("code")) and self.leftovers == expected


class Child:
    """A child process that is restarted after a crash or a hang."""

    def __init__(self) -> None:
        self._process = self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def export(self, source: Path) -> dict[str, Any]:
        """Return the child's answer, or how it crashed or hung."""
        pipes = self._process
        assert pipes.stdin is not None
        assert pipes.stdout is not None
        pipes.stdin.write(f"{source}\n".encode())
        pipes.stdin.flush()
        with selectors.DefaultSelector() as waiting:
            waiting.register(pipes.stdout, selectors.EVENT_READ)
            line = pipes.stdout.readline() if waiting.select(TIMEOUT_SECONDS) else None
        if line:
            answer: dict[str, Any] = json.loads(line)
            return answer
        self._end()
        self._process = self._start()
        return {"hung": True} if line is None else {"crashed": pipes.returncode}

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.gpu.hostile.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def _end(self) -> None:
        with self._process as process:
            process.kill()


def try_files(files: Iterable[tuple[str, bytes]], folder: Path, *, children: int = 2) -> list[Outcome]:
    """Export every file in its own folder and return the outcomes."""
    waiting = iter(list(enumerate(files)))  # two threads can't use one generator
    with ThreadPoolExecutor(children) as pool:
        futures = [pool.submit(_try_waiting, waiting, folder) for _ in range(children)]
        return [outcome for future in futures for outcome in future.result()]


def _try_waiting(waiting: Iterator[tuple[int, tuple[str, bytes]]], folder: Path) -> list[Outcome]:
    outcomes = []
    with Child() as child:
        for number, (name, content) in waiting:
            case_folder = folder / str(number)
            case_folder.mkdir()
            source = case_folder / name
            source.write_bytes(content)
            answer = child.export(source)
            source.unlink()
            outcomes.append(Outcome(name, answer, frozenset(path.name for path in case_folder.iterdir())))
    return outcomes
