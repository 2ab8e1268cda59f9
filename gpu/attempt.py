"""Run one attempt from its first report to its last, in a local process or a Modal function."""

import logging
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from callbacks.envelope import Failure, Output
from callbacks.reporter import DeliveryFailed, Reporter, ReporterError, Stopped
from gpu.chunks.process_worker import ProcessWorkerPool
from gpu.chunks.workers import WorkerPool
from gpu.errors import INTERNAL, ExportError, describe, failure_from, plugin_failure
from gpu.export_types.registry import BUILT_IN
from gpu.pipeline import ExportSteps, run
from gpu.spec import AttemptSpec
from gpu.transfer.objects import delete_output

log = logging.getLogger(__name__)

LastReport = dict[str, Any]
"""What the last report said, with the identity of the attempt, as JSON values."""


def execute(
    spec: AttemptSpec,
    scratch: Path,
    reporter: Reporter,
    before_end: Callable[[], None] = lambda: None,
    pool: WorkerPool | None = None,
) -> LastReport:
    """Run the attempt and report it; return what the last report said: `output`, `error` or `stopped`.

    `before_end` is called just before that report, so that a watchdog can be disarmed. The return value is the same if
    the last report can't be delivered. `pool` encodes the chunks of a split export.
    """
    started_at, pool = time.monotonic(), pool or ProcessWorkerPool()

    def gpu_seconds() -> float:
        return time.monotonic() - started_at + pool.remote_gpu_seconds

    reporter.attach_gpu_meter(gpu_seconds)
    try:
        _report_started(reporter)
        ending = _run_pipeline(run(spec, scratch, pool=pool), reporter)
        if ending == INTERNAL and spec.type not in BUILT_IN:
            ending = plugin_failure(spec.type)
        before_end()
        return _report_end(spec, reporter, ending, gpu_seconds())
    except Stopped:
        return _last_report(spec, gpu_seconds(), stopped=True)


def _report_started(reporter: Reporter) -> None:
    """Report the start; if it can't be delivered go on, since later reports imply it."""
    try:
        reporter.report_started("Starting")
    except DeliveryFailed as error:
        log.warning("the start could not be reported: %s", error)


def _run_pipeline(attempt: ExportSteps, reporter: Reporter) -> Output | Failure:
    """Run the pipeline and report its progress; `Stopped` ends it within a frame and leaves nothing behind."""
    with closing(attempt):
        try:
            while True:
                step = next(attempt)
                reporter.report_progress(step.phase, step.progress, step.message, step.eta_seconds)
        except StopIteration as stop:
            output: Output = stop.value
            return output
        except ExportError as error:
            log.info("export failed: %s", describe(error))
            return failure_from(error)
        except ReporterError:
            raise
        except Exception:  # the edge of the process: the service waits for a report
            log.exception("export failed unexpectedly")
            return INTERNAL


def _report_end(
    spec: AttemptSpec, reporter: Reporter, ending: Output | Failure, gpu_seconds: float
) -> LastReport:
    try:
        if isinstance(ending, Output):
            reporter.report_completed(ending, "Finished", gpu_seconds)
        else:
            reporter.report_failed(ending, gpu_seconds)
    except Stopped:
        # The output was stored, but the service wants no more of it. Only this attempt writes to its path.
        delete_output(spec.transfer.output)
        raise
    except ReporterError as error:
        log.warning("the last report could not be delivered: %s", error)
    if isinstance(ending, Output):
        return _last_report(spec, gpu_seconds, output=msgspec.to_builtins(ending))
    return _last_report(spec, gpu_seconds, error=msgspec.to_builtins(ending))


def _last_report(spec: AttemptSpec, gpu_seconds: float, **ending: object) -> LastReport:
    identity = {"job_id": spec.job_id, "attempt": spec.attempt, "call_id": spec.call_id}
    return identity | {"gpu_seconds": round(gpu_seconds, 3)} | ending
