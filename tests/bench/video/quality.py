"""Cost and quality of each `quality` of each codec.

The whole picture is exported at its own size, so that differences come from the encoder. ffmpeg measures PSNR in
decibels over all samples, and SSIM (100 % is identical).
"""

import re
import subprocess
import sys
from pathlib import Path

from tests.bench.benchmark import Benchmark, Figure, Options, Size
from tests.bench.measure.process_cost import measure_process
from tests.bench.measure.samples import Samples, alternate
from tests.bench.video import footage
from tests.bench.video.peers import prepare_film, prepare_peers
from tests.bench.video.workloads import spec

CODECS, QUALITIES = ("h264", "hevc", "av1"), ("draft", "standard", "high")
_HEIGHT = 720
_COMPARED = "[0:v]split[a][b];[1:v]split[c][d];[a][c]psnr;[b][d]ssim"


def run(options: Options) -> list[Figure]:
    """Export with each quality and compare the result with its source."""
    seconds, samples = options.sizes["seconds"], Samples()
    film = prepare_film(seconds, height=_HEIGHT)
    output = film.with_name("quality.mp4")
    ffmpeg = prepare_peers(install=not options.is_smoke).ffmpeg
    pairs = [(codec, quality) for codec in CODECS for quality in QUALITIES]
    for codec, quality in alternate(pairs[:: len(QUALITIES)] if options.is_smoke else pairs, options.rounds):
        start = measure_process((sys.executable, "-c", "import gpu.__main__")).cpu_seconds
        given = _write_spec(codec, quality, film, output)
        cost = measure_process((sys.executable, "-m", "gpu", "-"), given)
        variant, frames = f"{codec}, {quality}", seconds * footage.RATE
        samples.add(variant, "bit rate", output.stat().st_size * 8 / seconds / 1e6, "Mbit/s")
        samples.add(variant, "CPU of a frame", (cost.cpu_seconds - start) / frames * 1e3, "ms")
        if ffmpeg:
            psnr, ssim = compare_films(ffmpeg, output, film)
            samples.add(variant, "PSNR", psnr, "dB")
            samples.add(variant, "SSIM", 100 * ssim, "%")
    if not ffmpeg:
        samples.add_absent("PSNR and SSIM", "ffmpeg is not installed")
    return samples.to_figures()


def _write_spec(codec: str, quality: str, film: Path, output: Path) -> str:
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


BENCHMARK = Benchmark(
    description="Bit rate, likeness to the source and encoding cost of each codec and quality, 1280 x 720 at 30/s.",
    run=run,
    rounds=1,
    sizes={"seconds": Size(6, smoke=1)},
)
