"""The programs and libraries that exports are measured beside, and the films that all of them read."""

import shutil
import subprocess
import venv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.bench.video import footage

ROOT = (Path("var") / "bench").absolute()
PACKAGES = ("moviepy", "imageio-ffmpeg", "opencv-python-headless")
NOT_INSTALLED = f"not installed in {Path('var') / 'bench' / 'venv'}"


@dataclass(frozen=True)
class Peers:
    """What is installed: a Python with MoviePy and OpenCV, and an ffmpeg."""

    python: Path | None
    ffmpeg: str | None


def prepare_peers(*, install: bool) -> Peers:
    """Return the peers; their Python is an environment of its own, which is created once and if it can be."""
    folder = ROOT / "venv"
    python, is_complete = folder / "bin" / "python", folder / ".installed"
    if install and not is_complete.exists():
        venv.create(folder, with_pip=True)
        if (
            subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=False).returncode
            == 0
        ):
            is_complete.touch()
    if not is_complete.exists():
        return Peers(None, shutil.which("ffmpeg"))
    script = "import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())"
    answer = subprocess.run([python, "-c", script], check=True, capture_output=True, text=True)
    return Peers(python, answer.stdout.strip())


def prepare_film(
    seconds: int, *, height: int = footage.HEIGHT, options: Mapping[str, str] = footage.USUAL
) -> Path:
    """Return a film of this length and height, made once; `options` are those of its encoder."""
    name = "-".join(["film", str(seconds), str(height), *options.values()])
    film = ROOT / f"{name}.mp4"
    if not film.exists():
        film.parent.mkdir(parents=True, exist_ok=True)
        unfinished = film.with_suffix(".unfinished.mp4")
        footage.make_film(unfinished, seconds, height / footage.HEIGHT, options=dict(options))
        unfinished.rename(film)
    return film
