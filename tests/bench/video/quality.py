"""`python -m tests.bench.video.quality`: cost and quality of each `quality` of each codec.

The whole picture is exported at its own size, so that differences come from the encoder. The ffmpeg of
`make bench-video` measures PSNR in decibels over all samples, and SSIM (1 is identical).
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

from tests.bench.measure.process_cost import measure_process
from tests.bench.video import footage
from tests.bench.video.compare import prepare_baselines
from tests.bench.video.workloads import spec

ROOT = Path("var") / "bench"
CODECS, QUALITIES = ("h264", "hevc", "av1"), ("draft", "standard", "high")
_HEIGHT = 720
_COMPARED = "[0:v]split[a][b];[1:v]split[c][d];[a][c]psnr;[b][d]ssim"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.video.quality", description="Measure qualities."
    )
    parser.add_argument("--seconds", type=float, default=6.0, help="of film, 1280 x 720 at 30/s")
    parser.add_argument("--codecs", nargs="+", choices=CODECS, default=CODECS)
    arguments = parser.parse_args()
    film = ROOT.absolute() / f"film-{arguments.seconds:g}-{_HEIGHT}.mp4"
    if not film.exists():
        footage.make_film(film, arguments.seconds, _HEIGHT / footage.HEIGHT)
    _, ffmpeg = prepare_baselines(ROOT.absolute())
    start = measure_process((sys.executable, "-c", "import gpu.__main__")).cpu_seconds
    print(f"{arguments.seconds:g} s of 1280 x 720 at 30/s; cpu is of the whole export without its start")
    print(f"{'':6} {'quality':9} {'Mbit/s':>7} {'PSNR dB':>8} {'SSIM':>7} {'cpu ms a frame':>15}")
    for codec in arguments.codecs:
        for quality in QUALITIES:
            output = film.with_name("quality.mp4")
            cost = measure_process(
                (sys.executable, "-m", "gpu", "-"), _parse_arguments(codec, quality, film, output)
            )
            psnr, ssim = compare_films(ffmpeg, output, film)
            rate = output.stat().st_size * 8 / arguments.seconds / 1e6
            spent = (cost.cpu_seconds - start) / (arguments.seconds * footage.RATE) * 1_000
            print(f"{codec:6} {quality:9} {rate:7.2f} {psnr:8.2f} {ssim:7.4f} {spent:15.1f}", flush=True)


def _parse_arguments(codec: str, quality: str, film: Path, output: Path) -> str:
    whole = {"time": 0, "x": 0, "y": 0, "width": 1_280, "height": _HEIGHT}
    config = {"input_key": "film", "codec": codec, "quality": quality, "keyframes": [whole]}
    return spec("framing", config | {"include_audio": False}, film, output)


def compare_films(ffmpeg: str, output: Path, film: Path) -> tuple[float, float]:
    """Return PSNR and SSIM of two films with the same frames."""
    command = (ffmpeg, "-i", str(output), "-i", str(film), "-an", "-lavfi", _COMPARED, "-f", "null", "-")
    said = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    psnr, ssim = re.search(r"PSNR .*average:([\d.]+|inf)", said), re.search(r"SSIM .*All:([\d.]+)", said)
    if psnr is None or ssim is None:
        raise ValueError("ffmpeg did not say how alike the two are")
    return float(psnr[1]), float(ssim[1])


if __name__ == "__main__":
    main()
