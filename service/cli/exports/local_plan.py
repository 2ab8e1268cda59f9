"""Plan the export of a file on this machine, as the service would once the file is there."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from threading import Timer
from typing import Any

import msgspec

from framehook import FramehookError
from framehook.estimates import DescribedSource, DescribedTrack, EstimatedOutput, EstimatedSource
from gpu.crash_signals import crash_error, is_crash
from gpu.errors import INTERNAL, OUT_OF_MEMORY
from gpu.export_types.registry import find_export_type
from gpu.sources.description import SourceDescription
from gpu.spec import EstimateSpec, LocalFile
from service.cli.exports.check import PLACEHOLDER_KEY
from service.settings.text import is_utf8

MAX_SECONDS = 60.0
"""A file of a format without an index is read whole, so a plan may take long; the service finds out in any case."""
_INCONCLUSIVE = frozenset({INTERNAL.code, OUT_OF_MEMORY.code})


class LocalPlan(msgspec.Struct, frozen=True):
    """What the export of the file becomes, and what a probe says of the file."""

    output: EstimatedOutput
    source: EstimatedSource
    sources: dict[str, SourceDescription]

    def describe(self, file: Path) -> DescribedSource:
        """Return what the service has to know of the file."""
        description = self.sources[PLACEHOLDER_KEY]
        codecs = [track["codec"] for track in description["picture_tracks"] if track["chosen"]]
        return DescribedSource(
            duration=description["duration"],
            width=description["width"],
            height=description["height"],
            fps=description["fps"],
            variable_fps=description["variable_fps"],
            codec=next(iter(codecs), "unknown"),
            size=file.stat().st_size,
            audio_tracks=tuple(
                DescribedTrack(track["codec"], track["channels"], track["sample_rate"])
                for track in description["audio_tracks"]
            ),
        )


def plan_local_export(
    file: Path, type_: str, parameters: Mapping[str, Any], *, max_seconds: float = MAX_SECONDS
) -> LocalPlan | None:
    """Return what the export of a file becomes; None if that can't be found out here.

    It can't if another source is in storage, or if the path is not UTF-8, as JSON must be. Raises FramehookError for a
    file that the export would fail with.
    """
    config = find_export_type(type_).config.model_validate({**parameters, "input_key": PLACEHOLDER_KEY})
    if config.input_keys != [PLACEHOLDER_KEY] or not is_utf8(str(file.absolute())):
        return None
    sources = {PLACEHOLDER_KEY: LocalFile(path=str(file.absolute()))}
    line, status = _run_process(EstimateSpec(type=type_, config=config, sources=sources), max_seconds)
    if is_crash(status):
        raise FramehookError(f"{file}: {crash_error().message}")
    answer = msgspec.json.decode(line or b"{}")
    if "error" in answer:
        _raise_error(file, answer["error"])
    return msgspec.convert(answer["source"], LocalPlan) if "source" in answer else None


def _raise_error(file: Path, error: Mapping[str, Any]) -> None:
    """Raise what the export would end with, unless it is about this machine alone."""
    if error["transient"] or error["code"] in _INCONCLUSIVE:
        return
    loc = error["loc"]
    field = ".".join(str(part) for part in ("config", *loc)) if loc and loc != ["input_key"] else str(file)
    raise FramehookError(f"{field}: {error['message']}")


def _run_process(spec: EstimateSpec, max_seconds: float) -> tuple[bytes, int]:
    """Return the answer of a process that reads the file, and its exit status; it is killed when its time is up.

    The file may make a decoder crash.
    """
    with subprocess.Popen(
        [sys.executable, "-m", "gpu.estimates.process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,  # what the process has not read is not written again at the end
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        timer = Timer(max_seconds, process.kill)
        timer.start()
        try:
            process.stdin.write(spec.model_dump_json(by_alias=True).encode() + b"\n")
            line = process.stdout.readline()
            if line:
                process.kill()
            return line, 0 if line else process.wait()
        except BrokenPipeError:
            return b"", process.wait()
        finally:
            timer.cancel()
            process.kill()
