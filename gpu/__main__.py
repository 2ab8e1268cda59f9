"""`python -m gpu SPEC`: run one export on this machine without a service.

SPEC is a file, or `-` for standard input. Writes a JSON object a line to standard output: progress with `phase`,
`progress` (percent), `message` and `eta_seconds`, and finally `output` (size, checksum, duration, width, height) or
`error` (code, message, transient). Exit status: 0 success, 1 failed, 2 a spec that can't be read, 143 ended by SIGTERM.
"""

import argparse
import json
import logging
import os
import signal
import sys
import tempfile
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from types import FrameType

import msgspec
from pydantic import ValidationError

from callbacks.log_format import log_to_stderr
from gpu.errors import ExportError, failure_dict, failure_from
from gpu.pipeline import ExportSteps, run
from gpu.spec import AttemptSpec


def main() -> int:
    """Run the export that the spec describes and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m gpu", description="Run one export on this machine.")
    parser.add_argument(
        "spec", type=argparse.FileType("rb"), help="an AttemptSpec as JSON; - for standard input"
    )
    log_to_stderr(os.environ.get("LOG_FORMAT", "text"), logging.WARNING)
    os.environ.setdefault("SVT_LOG", "1")  # otherwise the AV1 encoder writes to standard error
    try:
        spec = AttemptSpec.model_validate_json(parser.parse_args().spec.read())
    except ValidationError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    signal.signal(signal.SIGTERM, _exit_on_signal)
    with tempfile.TemporaryDirectory(prefix="framehook-") as folder:
        return _print_progress(run(spec, Path(folder) / "scratch"))


def _print_progress(steps: ExportSteps) -> int:
    """Print each step and the result; return the exit status."""
    with closing(steps):
        try:
            while True:
                _print_line(asdict(next(steps)))
        except StopIteration as stop:
            _print_line({"output": msgspec.to_builtins(stop.value)})
            return 0
        except ExportError as error:
            _print_line({"error": failure_dict(failure_from(error))})
            return 1


def _print_line(line: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def _exit_on_signal(number: int, _frame: FrameType | None) -> None:
    """Exit through every `finally`, which clean up."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
