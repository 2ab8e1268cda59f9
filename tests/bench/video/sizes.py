"""How far estimated sizes are from the sizes of real exports, and the constants that the estimates use.

Videos of very different kinds, each in two sizes and qualities, are exported whole with each `quality` of each codec.
A factor is the bits per pixel of the output over those of the source to the power of `EXPONENT`: its geometric mean
over all videos belongs into `gpu.estimates.output_size`. An error is by how many times an estimate was too large or
too small.
"""

import math
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av

from gpu.estimates.output_size import EXPONENT
from gpu.estimates.planned import plan_estimate
from gpu.export_types.registry import parse_config
from gpu.pipeline import run as run_pipeline
from gpu.spec import AttemptSpec, EstimateSpec, LocalFile, Transfer
from tests.bench.benchmark import RATIO, Benchmark, Figure, Options, Size
from tests.bench.measure.samples import Samples, percentile
from tests.bench.video import footage
from tests.bench.video.peers import prepare_film, prepare_peers
from tests.bench.video.quality import CODECS, QUALITIES

SHAPES = ((360, 19), (720, 26))
"""Heights of the videos, and the x264 `crf` with which each is made."""
KINDS = {
    "test card": "testsrc2=size={size}:rate=30",
    "zoom": "mandelbrot=size={size}:rate=30",
    "grain": "testsrc2=size={size}:rate=30,noise=alls=12:allf=t",
    "still": "smptehdbars=size={size}:rate=30",
    "gradients": "gradients=size={size}:rate=30:seed=1",
}
"""Generators of FFmpeg, beside the film of a match."""
MATCH = "match"


def run(options: Options) -> list[Figure]:
    """Estimate and export every video with every codec and quality."""
    samples, seconds = Samples(), options.sizes["seconds"]
    pairs = [(codec, quality) for codec in CODECS for quality in QUALITIES]
    pairs = pairs[:1] if options.is_smoke else pairs
    with tempfile.TemporaryDirectory(prefix="framehook-sizes-") as folder:
        videos = list(_make_videos(Path(folder), seconds, is_smoke=options.is_smoke))
        for codec, quality in pairs * options.rounds:
            errors: dict[str, list[float]] = defaultdict(list)
            logarithms = []
            for kind, path in videos:
                estimated, actual = _compare(path, codec, quality)
                errors[kind].append(max(estimated / actual, actual / estimated))
                logarithms.append(_measure_factor(path, actual))
            variant = f"{codec}, {quality}"
            every = [error for kind in errors.values() for error in kind]
            samples.add(variant, "factor", math.exp(sum(logarithms) / len(logarithms)), RATIO)
            samples.add(variant, "error, 90 of 100", percentile(every, 90), RATIO)
            samples.add(variant, "largest error", max(every), RATIO)
            samples.add(variant, "of the match", max(errors[MATCH]), RATIO)
    return samples.to_figures()


def _make_videos(folder: Path, seconds: int, *, is_smoke: bool) -> Iterator[tuple[str, Path]]:
    """Yield each kind with the path of a video of it."""
    ffmpeg = prepare_peers(install=not is_smoke).ffmpeg
    for height, crf in SHAPES[:1] if is_smoke else SHAPES:
        yield MATCH, prepare_film(seconds, height=height, options=footage.USUAL | {"crf": str(crf)})
        for kind, generator in KINDS.items() if ffmpeg and not is_smoke else ():
            path = folder / f"{kind}-{height}.mp4"
            source = generator.format(size=f"{height * 16 // 9}x{height}")
            coding = ("-c:v", "libx264", "-preset", "veryfast", "-crf", str(crf), "-pix_fmt", "yuv420p")
            command = [str(ffmpeg), "-v", "error", "-f", "lavfi", "-i", source, "-t", str(seconds), *coding]
            subprocess.run([*command, str(path)], check=True)
            yield kind, path


def _compare(path: Path, codec: str, quality: str) -> tuple[int, int]:
    """Return the bytes of an export of the whole video without sound, as estimated and as measured."""
    with av.open(str(path)) as container:
        picture = container.streams.video[0]
        crop = {"time": 0, "x": 0, "y": 0, "width": picture.width, "height": picture.height}
    fields = {
        "input_key": "a",
        "codec": codec,
        "quality": quality,
        "keyframes": [crop],
        "include_audio": False,
    }
    sources = {"a": LocalFile(path=str(path))}
    common: dict[str, Any] = {"type": "framing", "config": parse_config("framing", fields)}
    estimated = plan_estimate(EstimateSpec(sources=sources, **common))["output"]["size"]
    with tempfile.TemporaryDirectory(prefix="framehook-sizes-") as folder:
        output = Path(folder) / "output.mp4"
        transfer = Transfer(sources=sources, output=LocalFile(path=str(output)))
        spec = AttemptSpec(job_id="size", attempt=1, call_id="size", transfer=transfer, **common)
        for _ in run_pipeline(spec, Path(folder) / "scratch"):
            pass
        return estimated or 0, output.stat().st_size


def _measure_factor(path: Path, output_bytes: int) -> float:
    """Return the logarithm of what the estimate multiplies by."""
    with av.open(str(path)) as container:
        picture = container.streams.video[0]
        pixels = picture.width * picture.height * picture.frames
        source_bits = 8 * sum(packet.size for packet in container.demux(picture))
    return math.log(8 * output_bytes / pixels) - EXPONENT * math.log(source_bits / pixels)


BENCHMARK = Benchmark(
    description="Estimated sizes of exports beside the real ones: six kinds of video, in two sizes and qualities.",
    run=run,
    rounds=1,
    sizes={"seconds": Size(3, smoke=1)},
)
