"""What a call of the Modal functions does: run an attempt for the service, or export within the bucket secret."""

import base64
import logging
import tempfile
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from callbacks.envelope import Failure, Output
from callbacks.reporter import Reporter, ReporterError
from gpu import pipeline
from gpu.attempt import LastReport, execute
from gpu.chunks.modal_worker import EncodeChunk, ModalWorkerPool
from gpu.errors import INTERNAL, ExportError, failure_dict
from gpu.export_types.registry import UnknownExportType, find_export_type, parse_config
from gpu.spec import AttemptSpec, CallbackTarget, Transfer
from gpu.transfer.user_bucket import UserBucket
from gpu.worker import Watchdog, scratch_name

DEADLINE_SECONDS = 3_600.0
MAX_RETRY_SECONDS = 30.0

Value = dict[str, Any]
"""The return value of a call."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExportCall:
    """The arguments of a call, without where to report and to read and write."""

    job_id: str
    user_id: str
    job_type: str
    config: dict[str, Any]
    output_key: str


def run_reported(
    call: ExportCall,
    callback: dict[str, Any],
    transfer: dict[str, Any],
    *,
    call_id: str,
    encode_chunk: EncodeChunk,
) -> Value:
    """Run an attempt of the service: report to it, and return what the last report says."""
    try:
        spec = _attempt_spec(call, callback, transfer, call_id)
        attempt_reporter = _create_reporter(call, callback, call_id)
    except UnknownExportType as error:
        return _report_unknown_type(call, callback, call_id, error)
    except (KeyError, ValueError) as error:
        return error_value("invalid_call", f"The call can't be read: {type(error).__name__}")
    pool = ModalWorkerPool(encode_chunk, spec.transfer.sources)
    with tempfile.TemporaryDirectory(prefix="framehook-") as folder:
        scratch = Path(folder) / scratch_name(spec)
        with (
            attempt_reporter as reporter,
            Watchdog(spec, scratch, reporter, pool=pool) as watchdog,
        ):
            try:
                last_report = execute(spec, scratch, reporter, watchdog.disarm, pool)
            except ReporterError as error:
                return error_value("unreported", f"The service could not be reached: {type(error).__name__}")
    return _value_from(last_report, call.output_key)


def run_on_bucket(call: ExportCall, *, encode_chunk: EncodeChunk) -> Iterator[Value]:
    """Export within the user's prefix of the bucket secret; yield progress, then the result."""
    try:
        with tempfile.TemporaryDirectory(prefix="framehook-") as folder:
            yield from _export_on_bucket(call, Path(folder), encode_chunk)
    except ExportError as error:
        yield error_value(error.code, error.message)
    except ValueError as error:
        yield error_value("invalid_call", str(error))
    except Exception:  # the edge of the process: the call itself must not fail
        log.exception("the export failed unexpectedly")
        yield error_value(INTERNAL.code, INTERNAL.message)


def error_value(code: str, message: str) -> Value:
    """Return the value of a call that failed."""
    return {"status": "error", "error": message, "code": code}


def _create_reporter(call: ExportCall, callback: dict[str, Any], call_id: str) -> Reporter:
    """Create the reporter of a call; raises KeyError or ValueError."""
    return Reporter(
        callback["url"],
        base64.b64decode(callback["key"], validate=True),
        job_id=call.job_id,
        attempt=callback["attempt"],
        call_id=call_id or call.job_id,
        deadline_seconds=callback.get("deadline_seconds", DEADLINE_SECONDS),
        max_retry_seconds=callback.get("patience_seconds", MAX_RETRY_SECONDS),
    )


def _report_unknown_type(
    call: ExportCall, callback: dict[str, Any], call_id: str, error: UnknownExportType
) -> Value:
    """Report at once what the value says, which the service reads only once the run has been silent."""
    failure = Failure(
        code="unknown_export_type",
        message=f"In the Modal app {error}. Install its package, and deploy again.",
    )
    with suppress(KeyError, ValueError, ReporterError), _create_reporter(call, callback, call_id) as reporter:
        reporter.report_failed(failure, 0.0)
    return error_value(failure.code, failure.message) | {"failure": failure_dict(failure)}


def _attempt_spec(
    call: ExportCall, callback: dict[str, Any], transfer: dict[str, Any], call_id: str
) -> AttemptSpec:
    """Check the arguments of a call; raises KeyError or ValueError."""
    return AttemptSpec(
        job_id=call.job_id,
        attempt=callback["attempt"],
        call_id=call_id or call.job_id,
        type=call.job_type,
        config=parse_config(call.job_type, call.config),
        transfer=Transfer.model_validate(transfer),
        callback=CallbackTarget(url=callback["url"], key=callback["key"]),
        request_id=callback.get("request_id"),
        traceparent=callback.get("traceparent"),
        deadline_seconds=callback.get("deadline_seconds", DEADLINE_SECONDS),
    )


def _value_from(last_report: LastReport, output_key: str) -> Value:
    """Return the last report, and the same in the form of a call without the service."""
    if "output" in last_report:
        return {**last_report, "status": "success", "output_key": output_key}
    failure = last_report.get("error") or {"code": "stopped", "message": "The service stopped the run."}
    value = {**last_report, "status": "error", "error": failure["message"], "code": failure["code"]}
    return value | ({"failure": failure} if "error" in last_report else {})


def _export_on_bucket(call: ExportCall, folder: Path, encode_chunk: EncodeChunk) -> Iterator[Value]:
    bucket = UserBucket(call.user_id)
    config = parse_config(call.job_type, call.config)
    export_type = find_export_type(call.job_type)
    output_path = folder / f"output{export_type.suffix}"
    spec = AttemptSpec(
        job_id=call.job_id,
        attempt=1,
        call_id=call.job_id,
        type=call.job_type,
        config=config,
        transfer=bucket.create_transfer(config, output_path),
    )
    pool = ModalWorkerPool(encode_chunk, spec.transfer.sources)
    output = yield from _progress_values(pipeline.run(spec, folder / "scratch", pool=pool))
    bucket.store(output_path, call.output_key, output.checksum, export_type.content_type)
    yield {
        "status": "success",
        "output_key": call.output_key,
        "output": {"size": output.size, "checksum": output.checksum, "duration": output.duration},
    }


def _progress_values(steps: pipeline.ExportSteps) -> Generator[Value, None, Output]:
    while True:
        try:
            progress = next(steps)
        except StopIteration as stop:
            output: Output = stop.value
            return output
        yield {"progress": round(progress.progress, 1), "message": progress.message}
