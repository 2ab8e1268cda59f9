"""Run the pipeline in a test."""

from collections.abc import Generator
from pathlib import Path
from typing import Any, TypeVar

from callbacks.envelope import Output
from gpu.export_types.registry import parse_config
from gpu.pipeline import run
from gpu.progress import Progress
from gpu.spec import AttemptSpec, LocalFile, Transfer

Yielded = TypeVar("Yielded")
Returned = TypeVar("Returned")

STILL = [{"time": 0, "x": 0, "y": 0, "width": 320, "height": 180}]


def attempt_spec(source: Path, output: Path, *, kind: str = "framing", **config: Any) -> AttemptSpec:
    """Return the spec of an export of one local file, by default in `draft` quality."""
    fields = {"input_key": "source", "quality": "draft"} | config
    return AttemptSpec(
        job_id="job",
        attempt=1,
        call_id="call",
        type=kind,
        config=parse_config(kind, fields),
        transfer=Transfer(
            sources={"source": LocalFile(path=str(source))}, output=LocalFile(path=str(output))
        ),
    )


def run_to_end(working: Generator[Yielded, None, Returned]) -> tuple[list[Yielded], Returned]:
    """Exhaust a generator; return what it yielded and what it returned."""
    yielded = []
    while True:
        try:
            yielded.append(next(working))
        except StopIteration as stop:
            return yielded, stop.value


def export(source: Path, **config: Any) -> tuple[Path, Output, list[Progress]]:
    """Run a framing export; return the path, the output as reported, and the progress."""
    output = source.with_name("output.mp4")
    fields = {"keyframes": STILL} | config
    progress, report = run_to_end(run(attempt_spec(source, output, **fields), source.with_name("scratch")))
    return output, report, progress
