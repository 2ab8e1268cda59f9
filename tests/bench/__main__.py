"""`make bench`: run benchmarks, print their tables, and write them to the guide and as JSON.

Results are stored in `tests/bench/results`, and the tables in `service/docs/benchmarks.md`, unless `--print-only` or
`--smoke` is given. Without names all benchmarks run.
"""

import argparse
import sys
import time
import traceback
from collections.abc import Sequence

from tests.bench.benchmark import Benchmark, Options
from tests.bench.machine import read_commit, read_machine
from tests.bench.registry import MODULES, load_benchmark
from tests.bench.report import Report, render_table


def main(words: Sequence[str] | None = None) -> int:
    """Run what is asked for; return 1 if a benchmark failed."""
    parser = _build_parser()
    arguments = parser.parse_args(words)
    benchmarks = {name: load_benchmark(name) for name in arguments.names or MODULES}
    known_sizes = {size for benchmark in benchmarks.values() for size in benchmark.sizes}
    if unknown := dict(arguments.size).keys() - known_sizes:
        parser.error(f"no size {', '.join(unknown)}; there are {', '.join(sorted(known_sizes)) or 'none'}")
    if arguments.list:
        _print_list(benchmarks)
        return 0
    failed = []
    for name, benchmark in benchmarks.items():
        try:
            sizes = {size: number for size, number in arguments.size if size in benchmark.sizes}
            options = benchmark.choose_options(rounds=arguments.rounds, sizes=sizes, is_smoke=arguments.smoke)
            report = run_benchmark(name, benchmark, options)
        except Exception:  # noqa: BLE001 - the others still run
            traceback.print_exc()
            failed.append(name)
            continue
        if not arguments.print_only and not arguments.smoke:
            report.save()
    if failed:
        print(f"Failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def run_benchmark(name: str, benchmark: Benchmark, options: Options) -> Report:
    """Run one benchmark and print its table."""
    print(f"\n{name}: {benchmark.description}\n", flush=True)
    date, commit, machine = time.strftime("%Y-%m-%d"), read_commit(), read_machine()
    figures = benchmark.run(options)
    report = Report(
        name, benchmark.description, date, commit, machine, options.rounds, options.sizes, figures
    )
    print(render_table(report), flush=True)
    return report


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="make bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "names", nargs="*", choices=[*MODULES, []], metavar="name", help="all of them if there is none"
    )
    parser.add_argument("--list", action="store_true", help="show the benchmarks and their sizes")
    parser.add_argument("--rounds", type=int, help="how often each variant is measured")
    parser.add_argument(
        "--size", type=_parse_size, action="append", default=[], metavar="NAME=NUMBER", help="work of a round"
    )
    parser.add_argument("--smoke", action="store_true", help="tiny sizes: show only that the benchmarks run")
    parser.add_argument("--print-only", action="store_true", help="write no file")
    return parser


def _parse_size(word: str) -> tuple[str, int]:
    name, _, number = word.partition("=")
    return name, int(number)


def _print_list(benchmarks: dict[str, Benchmark]) -> None:
    for name, benchmark in benchmarks.items():
        sizes = "".join(f", {size}={default}" for size, (default, _) in benchmark.sizes.items())
        print(f"{name:12} {benchmark.description} (rounds={benchmark.rounds}{sizes})")


if __name__ == "__main__":
    sys.exit(main())
