"""`python -m gpu.worker`: one attempt in a process of its own. Reads an AttemptSpec as JSON, exits when it is over.

Exit status: 0 reported (or no longer wanted), 1 not reported, 2 a spec that can't be read, 124 out of time, 143 ended
by SIGTERM. The last line on standard output is the last report as JSON.
"""

import argparse
import base64
import json
import logging
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from pydantic import ValidationError

from callbacks.reporter import Reporter, ReporterError
from gpu.attempt import OUT_OF_TIME, execute
from gpu.spec import AttemptSpec
from gpu.transfer import withdraw

OUT_OF_TIME_STATUS, TERMINATED_STATUS = 124, 128 + signal.SIGTERM
# What is left of the deadline to say in that it has passed.
_LAST_WORDS_SECONDS = 15.0
_LAST_WORDS_SHARE = 0.1

log = logging.getLogger(__name__)


class Watchdog:
    """Ends the process when time is up, even if the main thread hangs in a decoder."""

    def __init__(self, spec: AttemptSpec, scratch: Path, reporter: Reporter) -> None:
        self._scratch, self._reporter = scratch, reporter
        self._output = spec.transfer.output
        self._seconds = spec.deadline_seconds - last_words_seconds(spec.deadline_seconds)
        self._timer = threading.Timer(self._seconds, self._bite)
        self._timer.daemon = True
        self._lock = threading.Lock()
        self._asleep = False

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stand_down()

    def stand_down(self) -> None:
        """From here the main thread has the last word; if the watchdog has it already, this does not return."""
        with self._lock:
            self._asleep = True
        self._timer.cancel()

    def _bite(self) -> None:
        with self._lock:
            if self._asleep:
                return
            with suppress(ReporterError):
                self._reporter.failed(OUT_OF_TIME, self._seconds)
            shutil.rmtree(self._scratch, ignore_errors=True)
            withdraw(self._output)
            os._exit(OUT_OF_TIME_STATUS)


def last_words_seconds(deadline_seconds: float) -> float:
    """How much of a deadline is kept for the report that it has passed."""
    return min(_LAST_WORDS_SECONDS, deadline_seconds * _LAST_WORDS_SHARE)


def main() -> int:
    """Run the attempt on standard input; the process's exit status."""
    parser = argparse.ArgumentParser(prog="python -m gpu.worker", description="Run one attempt of an export.")
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()), help="folder to work in")
    folder: Path = parser.parse_args().scratch
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")
    os.environ.setdefault("SVT_LOG", "1")  # the AV1 encoder writes to standard error on its own otherwise
    signal.signal(signal.SIGTERM, _terminated)
    try:
        spec = AttemptSpec.model_validate_json(sys.stdin.buffer.read())
    except ValidationError as error:
        log.error("the spec is not valid: %s", _complaints(error))  # noqa: TRY400 - a trace would show the key
        return 2
    return attempt(spec, folder / scratch_name(spec))


def attempt(spec: AttemptSpec, scratch: Path) -> int:
    """Run an attempt that has a callback target; the exit status."""
    target = spec.callback
    if target is None:
        log.error("the spec names no callback target")
        return 2
    try:
        with (
            Reporter(
                target.url,
                base64.b64decode(target.key, validate=True),
                job_id=spec.job_id,
                attempt=spec.attempt,
                call_id=spec.call_id,
                deadline_seconds=spec.deadline_seconds,
            ) as reporter,
            Watchdog(spec, scratch, reporter) as watchdog,
        ):
            terminal = execute(spec, scratch, reporter, watchdog.stand_down)
    except (ReporterError, ValueError) as error:
        log.error("the attempt could not be reported: %s", error)  # noqa: TRY400 - its sentence is enough
        return 1
    sys.stdout.write(json.dumps(terminal) + "\n")
    return 0


def scratch_name(spec: AttemptSpec) -> str:
    """A folder's name that no job id can lead out of its parent."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", f"{spec.job_id}-{spec.attempt}")


def _complaints(error: ValidationError) -> str:
    """Where a spec is wrong, without what it says there: it holds a key."""
    return "; ".join(
        f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors(include_input=False)
    )


def _terminated(_number: int, _frame: FrameType | None) -> None:
    """A service that stops, or cancels: every `finally` on the way out cleans up."""
    raise SystemExit(TERMINATED_STATUS)


if __name__ == "__main__":
    sys.exit(main())
