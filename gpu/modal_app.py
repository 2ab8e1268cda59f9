"""The Modal app: the image, the GPU, and thin wrappers around `gpu.attempt` and `gpu.pipeline`. Nothing imports it.

A split export calls `encode_chunk` for its pieces, and joins them itself.

Deployed by `framehook modal deploy`, which is `modal deploy -m gpu.modal_app`. Read at deploy time: MODAL_APP_NAME,
MODAL_GPU (a name, or several separated by commas, the first choice first), MODAL_MAX_CONTAINERS, and
MODAL_BUCKET_SECRET, the name of a Modal secret with R2_ENDPOINT_URL, R2_ACCESS_KEY_ID, R2_SECRET_ACCESS_KEY and
R2_BUCKET_NAME, which only callers that bring no presigned URLs need.
"""

import base64
import logging
import os
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import modal

from callbacks.envelope import Output
from callbacks.reporter import Reporter, ReporterError
from gpu import pipeline
from gpu.attempt import INTERNAL, execute
from gpu.chunks import modal_entry
from gpu.chunks.modal_worker import ModalWorkerPool
from gpu.errors import ExportError
from gpu.export_types.registry import parse_config
from gpu.spec import AttemptSpec, CallbackTarget, Transfer
from gpu.transfer.user_bucket import UserBucket
from gpu.worker import Watchdog, scratch_name

DEADLINE_SECONDS = 3_600.0
PATIENCE_SECONDS = 30.0
TIMEOUT_SECONDS = 24 * 3_600
"""Modal's own limit, as long as Modal allows: a run is ended by its own deadline, which comes with the call."""
PACKAGES = (
    "av",
    "boto3",
    "fontpkg-noto-sans",
    "httpx",
    "justmytype-intl-rtl",
    "justmytype-intl-sea",
    "justmytype-intl-south-asia",
    "manimgx-fonts",
    "msgspec",
    "noto-cjk-sans-otc",
    "numpy",
    "pillow",
    "pydantic",
    "uharfbuzz",
)
"""What the video code imports, and the fonts that it draws with."""
LOCKS = (Path(__file__).with_name("requirements.lock"), Path(__file__).parents[1] / "requirements.lock")
"""Where the lock lies: in the package that was installed, or at the root of the sources."""

log = logging.getLogger(__name__)

app = modal.App(os.environ.get("MODAL_APP_NAME", "framehook"))


def _image() -> modal.Image:
    """The versions that the tests run with, the video code, and nothing of the service."""
    lock = next(path for path in LOCKS if path.exists())
    return (
        modal.Image.debian_slim(python_version="3.11")
        .add_local_file(lock, "/requirements.lock", copy=True)
        .run_commands(f"python -m pip install --no-cache-dir -c /requirements.lock {' '.join(PACKAGES)}")
        # As pickles, exceptions of a piece would be raised in the export as what they are.
        .env({"PYTHONUNBUFFERED": "1", "MODAL_PAYLOAD_FORMAT": "cbor"} | _same_secrets())
        .add_local_python_source("gpu", "callbacks")
    )


def _same_secrets() -> dict[str, str]:
    """A container imports this module again, and must count as many secrets as were deployed: else it dies."""
    name = os.environ.get("MODAL_BUCKET_SECRET")
    return {"MODAL_BUCKET_SECRET": name} if name else {}


def _secrets() -> list[modal.Secret]:
    name = os.environ.get("MODAL_BUCKET_SECRET")
    return [modal.Secret.from_name(name)] if name else []


def _gpu() -> str | list[str]:
    names = [name.strip() for name in os.environ.get("MODAL_GPU", "L4").split(",") if name.strip()]
    return names if len(names) > 1 else names[0]


_OPTIONS: dict[str, Any] = {
    "image": _image() if modal.is_local() else None,
    "gpu": _gpu(),
    "timeout": TIMEOUT_SECONDS,
    "max_containers": int(os.environ.get("MODAL_MAX_CONTAINERS", "20")),
    "scaledown_window": 60,
}


@app.function(retries=0, **_OPTIONS)  # no secrets: it reads by the URLs in its order
def encode_chunk(chunk: dict[str, Any], channel_id: str, name: str) -> dict[str, Any]:
    """A piece of a split export, for the functions below: `{"content", "seconds"}`, or `{"error", "seconds"}`."""
    return modal_entry.encode_chunk_remote(chunk, channel_id, name)


@app.function(
    retries=0, secrets=_secrets(), **_OPTIONS
)  # attempts are counted by the service; Modal's would run behind its back
def process_video(
    job_id: str,
    user_id: str,
    job_type: str,
    input_key: str,
    output_key: str,
    params: dict[str, Any],
    callback: dict[str, Any] | None = None,
    transfer: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Make an export; `{"status": "success", "output_key", …}` or `{"status": "error", "error", …}`.

    `callback` is `{"url", "key", "attempt", "deadline_seconds", "patience_seconds"}`: signed reports go there, and its
    answers may end the run; a report that is not taken for so long is left to the value. `transfer` says where to read
    and write without credentials. Without it the bucket secret is used, within the user's own prefix. A failure of the
    export itself is returned, never raised.
    """
    config = {**params, "input_key": input_key}
    if callback is not None and transfer is not None:
        return _run_reported(job_id, job_type, config, output_key, callback, transfer)
    *_, result = _bucket_transfer(job_id, user_id, job_type, config, output_key)
    return result


@app.function(secrets=_secrets(), **_OPTIONS)
def process_video_with_progress(
    job_id: str, user_id: str, job_type: str, input_key: str, output_key: str, params: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """The same on the bucket secret, for `remote_gen`: `{"progress", "message"}` as it goes, the result last."""
    yield from _bucket_transfer(job_id, user_id, job_type, {**params, "input_key": input_key}, output_key)


def _run_reported(
    job_id: str,
    job_type: str,
    config: dict[str, Any],
    output_key: str,
    callback: dict[str, Any],
    transfer: dict[str, Any],
) -> dict[str, Any]:
    """An attempt of the service's: reports go to it, and the value tells the same."""
    try:
        spec = _spec(job_id, job_type, config, callback, transfer)
        key = base64.b64decode(callback["key"], validate=True)
    except (KeyError, ValueError) as error:
        return _error_result("invalid_call", f"The call can't be read: {type(error).__name__}")
    pool = ModalWorkerPool(encode_chunk, spec.transfer.sources)
    with tempfile.TemporaryDirectory(prefix="framehook-") as folder:
        scratch = Path(folder) / scratch_name(spec)
        with (
            Reporter(
                callback["url"],
                key,
                job_id=job_id,
                attempt=spec.attempt,
                call_id=spec.call_id,
                deadline_seconds=spec.deadline_seconds,
                max_retry_seconds=callback.get("patience_seconds", PATIENCE_SECONDS),
            ) as reporter,
            Watchdog(spec, scratch, reporter, pool=pool) as watchdog,
        ):
            try:
                last_report = execute(spec, scratch, reporter, watchdog.disarm, pool)
            except ReporterError as error:
                return _error_result("unreported", f"The service could not be told: {type(error).__name__}")
    return _to_result(last_report, output_key)


def _spec(
    job_id: str, job_type: str, config: dict[str, Any], callback: dict[str, Any], transfer: dict[str, Any]
) -> AttemptSpec:
    """The call's arguments, checked; raises KeyError or ValueError."""
    return AttemptSpec(
        job_id=job_id,
        attempt=callback["attempt"],
        call_id=modal.current_function_call_id() or job_id,
        type=job_type,
        config=parse_config(job_type, config),
        transfer=Transfer.model_validate(transfer),
        callback=CallbackTarget(url=callback["url"], key=callback["key"]),
        deadline_seconds=callback.get("deadline_seconds", DEADLINE_SECONDS),
    )


def _to_result(last_report: dict[str, Any], output_key: str) -> dict[str, Any]:
    """What the attempt said last, in the form of the plain call, with all that it said beside it."""
    if "output" in last_report:
        return {**last_report, "status": "success", "output_key": output_key}
    failure = last_report.get("error") or {"code": "stopped", "message": "The run was told to stop."}
    value = {**last_report, "status": "error", "error": failure["message"], "code": failure["code"]}
    return value | ({"failure": failure} if "error" in last_report else {})


def _bucket_transfer(
    job_id: str, user_id: str, job_type: str, config: dict[str, Any], output_key: str
) -> Iterator[dict[str, Any]]:
    """The pipeline on the bucket secret: progress, then the result."""
    try:
        with tempfile.TemporaryDirectory(prefix="framehook-") as folder:
            yield from _run_on_bucket(job_id, user_id, job_type, config, output_key, Path(folder))
    except ExportError as error:
        yield _error_result(error.code, error.message)
    except ValueError as error:
        yield _error_result("invalid_call", str(error))
    except Exception:  # the edge of the process: a job's failure is never the call's
        log.exception("the export failed unexpectedly")
        yield _error_result(INTERNAL.code, INTERNAL.message)


def _run_on_bucket(
    job_id: str, user_id: str, job_type: str, config: dict[str, Any], output_key: str, folder: Path
) -> Iterator[dict[str, Any]]:
    bucket = UserBucket(user_id)
    parsed = parse_config(job_type, config)
    output_path = folder / "made.mp4"
    spec = AttemptSpec(
        job_id=job_id,
        attempt=1,
        call_id=job_id,
        type=job_type,
        config=parsed,
        transfer=bucket.transfer(parsed, output_path),
    )
    pool = ModalWorkerPool(encode_chunk, spec.transfer.sources)
    output = yield from _progress(pipeline.run(spec, folder / "scratch", pool=pool))
    bucket.store(output_path, output_key, output.checksum)
    yield {
        "status": "success",
        "output_key": output_key,
        "output": {"size": output.size, "checksum": output.checksum, "duration": output.duration},
    }


def _progress(attempt: pipeline.ExportSteps) -> Generator[dict[str, Any], None, Output]:
    while True:
        try:
            tick = next(attempt)
        except StopIteration as stop:
            output: Output = stop.value
            return output
        yield {"progress": round(tick.progress, 1), "message": tick.message}


def _error_result(code: str, message: str) -> dict[str, Any]:
    return {"status": "error", "error": message, "code": code}
