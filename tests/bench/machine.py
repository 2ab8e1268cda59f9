"""Describe the machine and the code that figures come from."""

import os
import platform
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

import msgspec

ROOT = Path(__file__).parents[2]


class Machine(msgspec.Struct, frozen=True):
    """What figures depend on; `ffmpeg` is the program's version, `pyav` that of the library with its own FFmpeg.

    `load` is how many processes were running or waiting in the minute before.
    """

    cores: int
    cpu: str
    memory_gib: int
    system: str
    python: str
    pyav: str
    ffmpeg: str
    load: float | None = None

    def describe(self) -> str:
        """Return a part of a sentence."""
        ffmpeg = f"ffmpeg {self.ffmpeg}" if self.ffmpeg else "no ffmpeg"
        load = "" if self.load is None else f", load {self.load:.0f} at the start"
        return (
            f"{self.cores} cores of {self.cpu}, {self.memory_gib} GiB, {self.system}, Python {self.python}, "
            f"PyAV {self.pyav}, {ffmpeg}{load}"
        )


def read_machine() -> Machine:
    """Describe this machine."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Machine(
        cores=len(os.sched_getaffinity(0)),
        cpu=_read_cpu(),
        memory_gib=round(memory / 2**30),
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        pyav=version("av"),
        ffmpeg=_read_ffmpeg_version(),
        load=os.getloadavg()[0],
    )


def read_commit() -> str:
    """Return the short name of the commit, and whether files differ from it."""
    commit = _run("git", "rev-parse", "--short=10", "HEAD")
    # The figures themselves are written while the benchmarks run.
    changes = _run(
        "git", "status", "--porcelain", "--", ".", ":!tests/bench/results", ":!service/docs/benchmarks.md"
    )
    return f"{commit} with changes" if changes else commit or "unknown"


def _read_cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.machine())


def _read_ffmpeg_version() -> str:
    return _run("ffmpeg", "-version").split()[2] if shutil.which("ffmpeg") else ""


def _run(*command: str) -> str:
    if not shutil.which(command[0]):
        return ""
    return subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True).stdout.strip()
