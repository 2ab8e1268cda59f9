"""Exports by Framehook beside ffmpeg, MoviePy scripts and OpenCV loops.

Whole processes are measured in turn, round after round, on the same film. ffmpeg, MoviePy and OpenCV get Framehook's
x264 settings. The variants called usual are what people write instead: MoviePy's own settings (preset medium), and a
loop that writes a file of OpenCV's own, which ffmpeg encodes again with the sound. Runs that stop after startup, after
reading and after drawing split the CPU time; what is left is encoding.
"""

from itertools import pairwise

from tests.bench.benchmark import Benchmark, Figure, Options, Size
from tests.bench.measure.process_cost import add_cost, measure_process
from tests.bench.measure.samples import Samples, alternate
from tests.bench.video.peers import NOT_INSTALLED, ROOT, prepare_film, prepare_peers
from tests.bench.video.workloads import FFMPEG, PEERS, Command, Stage, commands, stages

KINDS = ("framing", "overlay")
PARTS = ("start", "read", "draw")


def run(options: Options) -> list[Figure]:
    """Measure all contenders that are installed, in turn."""
    seconds, samples = options.sizes["seconds"], Samples()
    peers = prepare_peers(install=not options.is_smoke)
    stage = Stage(prepare_film(seconds), ROOT, peers.python, peers.ffmpeg, seconds)
    for kind in KINDS:
        contenders, parts = commands(kind, stage), stages(kind, stage)
        for name, command in alternate(list(contenders.items()), options.rounds):
            cost = measure_process(command.arguments, command.stdin)
            add_cost(samples, f"{kind}, {name}", cost)
            if name in parts:
                _add_parts(samples, f"{kind}, {name}", parts[name], cost.cpu_seconds)
        variants = [f"{kind}, {name}" for name in contenders]
        for measure in ("wall", "CPU"):
            samples.add_ratios(measure, base=f"{kind}, {FFMPEG}", among=variants)
        for name in PEERS:
            if name not in contenders:
                samples.add_absent(f"{kind}, {name}", NOT_INSTALLED)
    return samples.to_figures()


def _add_parts(samples: Samples, variant: str, parts: dict[str, Command], whole: float) -> None:
    """Add where the CPU time goes: each part is the difference of two runs of this round."""
    runs = [measure_process(parts[part].arguments, parts[part].stdin).cpu_seconds for part in PARTS]
    for part, (before, after) in zip((*PARTS, "encode"), pairwise([0.0, *runs, whole]), strict=True):
        samples.add(variant, f"CPU to {part}", after - before, "s")


BENCHMARK = Benchmark(
    description="Framing and overlay of 1080p with sound, whole processes, beside ffmpeg, MoviePy and OpenCV with the "
    "same and with their usual settings.",
    run=run,
    rounds=3,
    sizes={"seconds": Size(20, smoke=1)},
)
