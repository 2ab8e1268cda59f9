"""`python -m gpu.worker`: run one attempt. Reads an AttemptSpec as JSON from standard input.

With `--end-with-stdin` the spec is one line, and the process that started the run keeps standard input open: when that
process ends, the run ends within seconds and removes its scratch folder, since its reports could not be received.

Exit status: 0 reported (or stopped by the service), 1 not reported, 2 a spec that can't be read, 124 out of time,
memory or disk space, 143 ended by SIGTERM. The last line on standard output is the last report as JSON.
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
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from pydantic import ValidationError

from callbacks.envelope import Failure
from callbacks.log_format import add_attempt_fields, log_to_stderr
from callbacks.reporter import Reporter, ReporterError
from gpu.attempt import execute
from gpu.chunks.process_worker import ProcessWorkerPool
from gpu.chunks.workers import WorkerPool
from gpu.errors import DISK_FULL, OUT_OF_MEMORY, OUT_OF_TIME
from gpu.memory import resident_memory_bytes, total_memory_bytes
from gpu.spec import AttemptSpec
from gpu.transfer.objects import delete_output

WATCHDOG_EXIT_STATUS, TERMINATED_STATUS = 124, 128 + signal.SIGTERM
# Time reserved to report that the deadline has passed.
_REPORT_RESERVE_SECONDS = 15.0
_REPORT_RESERVE_FRACTION = 0.1
# A hostile index of some kilobytes makes a demuxer take a third of a gigabyte a second.
_POLL_SECONDS = 0.2
# Time for the main thread to clean up after the service has gone, which it can't if it hangs in a decoder.
_CLEAN_UP_SECONDS = 3.0

log = logging.getLogger(__name__)


class Watchdog:
    """Ends the process when time, memory or disk space runs out, even if the main thread hangs in a decoder.

    `memory_bytes` is half of the machine's by default; on systems without /proc it has no effect. `keep_free_bytes` is
    the space that must stay free on the disk with the scratch folder.
    """

    def __init__(
        self,
        spec: AttemptSpec,
        scratch: Path,
        reporter: Reporter,
        *,
        memory_bytes: int | None = None,
        pool: WorkerPool | None = None,
        keep_free_bytes: int = 0,
    ) -> None:
        self._scratch, self._reporter = scratch, reporter
        self._keep_free_bytes = keep_free_bytes
        self._pool = pool or ProcessWorkerPool()
        self._output = spec.transfer.output
        self._seconds = spec.deadline_seconds - report_reserve_seconds(spec.deadline_seconds)
        self._memory_bytes = memory_bytes or total_memory_bytes() // 2
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._lock = threading.Lock()
        self._disarmed = threading.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.disarm()

    def disarm(self) -> None:
        """Leave the last report to the main thread; does not return if the watchdog is already reporting."""
        with self._lock:
            self._disarmed.set()

    def _watch(self) -> None:
        started_at, passed = time.monotonic(), 0.0
        while not self._disarmed.wait(min(_POLL_SECONDS, max(0.0, self._seconds - passed))):
            passed = time.monotonic() - started_at
            if passed >= self._seconds:
                self._end_process(OUT_OF_TIME, passed)
            if resident_memory_bytes() > self._memory_bytes:
                self._end_process(OUT_OF_MEMORY, passed)
            if self._keep_free_bytes and free_disk_bytes(self._scratch.parent) < self._keep_free_bytes:
                self._end_process(DISK_FULL, passed)

    def _end_process(self, failure: Failure, gpu_seconds: float) -> None:
        with self._lock:
            if self._disarmed.is_set():
                return
            with suppress(ReporterError):
                self._reporter.report_failed(failure, gpu_seconds + self._pool.remote_gpu_seconds)
            shutil.rmtree(self._scratch, ignore_errors=True)
            delete_output(self._output)
            os._exit(WATCHDOG_EXIT_STATUS)


def free_disk_bytes(folder: Path) -> int:
    """Return the free space of the folder's disk; unlimited if the folder does not exist any more."""
    try:
        return shutil.disk_usage(folder).free
    except FileNotFoundError:
        return sys.maxsize


def report_reserve_seconds(deadline_seconds: float) -> float:
    """Return the part of a deadline that is reserved to report that it has passed."""
    return min(_REPORT_RESERVE_SECONDS, deadline_seconds * _REPORT_RESERVE_FRACTION)


def main() -> int:
    """Run the attempt on standard input and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m gpu.worker", description="Run one attempt of an export.")
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()), help="folder to work in")
    parser.add_argument(
        "--memory-megabytes", type=int, help="end the run beyond this (default: half the machine's)"
    )
    parser.add_argument(
        "--end-with-stdin",
        action="store_true",
        help="end when standard input does, and remove the scratch folder",
    )
    parser.add_argument(
        "--keep-free-bytes", type=int, default=0, help="end the run when its disk holds less than this"
    )
    arguments = parser.parse_args()
    log_to_stderr(os.environ.get("LOG_FORMAT", "text"))
    os.environ.setdefault("SVT_LOG", "1")  # otherwise the AV1 encoder writes to standard error
    os.umask(0o077)  # only the owner may read what an export writes
    signal.signal(signal.SIGTERM, _exit_on_signal)
    bounds = ((arguments.memory_megabytes or 0) * 1024 * 1024, arguments.keep_free_bytes)
    if not arguments.end_with_stdin:
        return run_spec(sys.stdin.buffer.read(), arguments.scratch, *bounds)
    spec = sys.stdin.buffer.readline()
    watcher = threading.Thread(target=exit_with_stdin, args=(arguments.scratch,), name="service", daemon=True)
    try:
        try:
            watcher.start()  # in here: its signal may come before `start` returns
            return run_spec(spec, arguments.scratch, *bounds)
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # from here nothing interrupts the removal
    finally:
        shutil.rmtree(arguments.scratch, ignore_errors=True)


def run_spec(text: bytes, folder: Path, memory_bytes: int, keep_free_bytes: int) -> int:
    """Run the attempt that this JSON describes and return the exit status."""
    try:
        spec = AttemptSpec.model_validate_json(text)
    except ValidationError as error:
        log.error("the spec is not valid: %s", _describe_errors(error))  # noqa: TRY400 - a trace would show the key
        return 2
    add_attempt_fields(spec.job_id, spec.attempt, spec.request_id)
    return run_attempt(spec, folder / scratch_name(spec), memory_bytes, keep_free_bytes)


def exit_with_stdin(folder: Path) -> None:
    """Wait until standard input ends, then end this process and its children, even if a decoder hangs."""
    while os.read(0, 1):
        pass
    log.warning("the service that started this run has ended; ending the run")
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_CLEAN_UP_SECONDS)
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(TERMINATED_STATUS)  # the chunk processes end with their standard input


def run_attempt(spec: AttemptSpec, scratch: Path, memory_bytes: int, keep_free_bytes: int = 0) -> int:
    """Run the attempt under a watchdog and return the exit status."""
    target = spec.callback
    if target is None:
        log.error("the spec has no callback target")
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
            Watchdog(
                spec, scratch, reporter, memory_bytes=memory_bytes, keep_free_bytes=keep_free_bytes
            ) as watchdog,
        ):
            last_report = execute(spec, scratch, reporter, watchdog.disarm)
    except (ReporterError, ValueError) as error:
        log.error("the attempt could not be reported: %s", error)  # noqa: TRY400 - the message is enough
        return 1
    sys.stdout.write(json.dumps(last_report) + "\n")
    return 0


def scratch_name(spec: AttemptSpec) -> str:
    """Return a folder name for the attempt without separators, so that no job id can escape the parent folder."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", f"{spec.job_id}-{spec.attempt}")


def _describe_errors(error: ValidationError) -> str:
    """Describe where a spec is wrong, without its values: it contains a key."""
    return "; ".join(
        f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors(include_input=False)
    )


def _exit_on_signal(_number: int, _frame: FrameType | None) -> None:
    """Exit through every `finally`, which a second signal does not interrupt."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(TERMINATED_STATUS)


if __name__ == "__main__":
    sys.exit(main())
