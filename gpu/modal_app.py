"""The Modal app: the image, the GPU and thin functions over `gpu.modal_calls`. No other module imports it.

A split export calls `encode_chunk` for its chunks and concatenates them itself.

Deployed by `framehook modal deploy`, which is `modal deploy -m gpu.modal_app`. Read at deploy time: MODAL_APP_NAME,
MODAL_GPU (a name, or several separated by commas, the first choice first), MODAL_MAX_CONTAINERS, and
MODAL_BUCKET_SECRET, the name of a Modal secret with R2_ENDPOINT_URL, R2_ACCESS_KEY_ID, R2_SECRET_ACCESS_KEY and
R2_BUCKET_NAME, needed only by callers that send no presigned URLs.
"""

import os
from collections.abc import Iterator
from typing import Any

import modal

from callbacks.probe import name_probe_function
from gpu.callback_probe import answer_probe
from gpu.chunks.modal_entry import encode_chunk_remote
from gpu.modal_calls import ExportCall, run_on_bucket, run_reported
from gpu.modal_image import RELEASE_VARIABLE, build_image, read_release

TIMEOUT_SECONDS = 24 * 3_600
"""The longest that Modal allows: a run is ended by the deadline that comes with its call."""
RELEASE = read_release()
PROBE_TIMEOUT_SECONDS = 60
app = modal.App(os.environ.get("MODAL_APP_NAME", "framehook"))


def _same_secrets() -> dict[str, str]:
    """Return the environment that makes a container declare the same secrets.

    A container imports this module again, and crashes unless it declares as many secrets as were deployed.
    """
    name = os.environ.get("MODAL_BUCKET_SECRET")
    return {"MODAL_BUCKET_SECRET": name} if name else {}


def _secrets() -> list[modal.Secret]:
    name = os.environ.get("MODAL_BUCKET_SECRET")
    return [modal.Secret.from_name(name)] if name else []


def _gpu() -> str | list[str]:
    names = [name.strip() for name in os.environ.get("MODAL_GPU", "L4").split(",") if name.strip()]
    return names if len(names) > 1 else names[0]


_OPTIONS: dict[str, Any] = {
    "image": build_image({RELEASE_VARIABLE: RELEASE, **_same_secrets()}) if modal.is_local() else None,
    "gpu": _gpu(),
    "timeout": TIMEOUT_SECONDS,
    "max_containers": int(os.environ.get("MODAL_MAX_CONTAINERS", "20")),
    "scaledown_window": 60,
}


@app.function(retries=0, **_OPTIONS)  # no secrets: it reads by the URLs in its spec
def encode_chunk(chunk: dict[str, Any], channel_id: str, name: str) -> dict[str, Any]:
    """Encode a chunk of a split export; return `{"content", "seconds"}` or `{"error", "seconds"}`."""
    return encode_chunk_remote(chunk, channel_id, name)


# No retries by Modal: the service counts attempts and starts the next one.
@app.function(retries=0, secrets=_secrets(), **_OPTIONS)
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
    """Run an export; return `{"status": "success", "output_key", …}` or `{"status": "error", "error", …}`.

    `callback` is `{"url", "key", "attempt", "deadline_seconds", "patience_seconds"}`, with the `request_id` and the
    `traceparent` of the request behind the export: signed reports are posted there, and a response may stop the run. A
    report that is not accepted within `patience_seconds` is left to the return value. `transfer` says where to read
    and write without credentials; without it the bucket secret is used, within the user's prefix. A failure of the
    export is returned, never raised.
    """
    call = ExportCall(job_id, user_id, job_type, {**params, "input_key": input_key}, output_key)
    if callback is not None and transfer is not None:
        call_id = modal.current_function_call_id() or ""
        return run_reported(call, callback, transfer, call_id=call_id, encode_chunk=encode_chunk)
    *_, value = run_on_bucket(call, encode_chunk=encode_chunk)
    return value


@app.function(secrets=_secrets(), **_OPTIONS)
def process_video_with_progress(
    job_id: str, user_id: str, job_type: str, input_key: str, output_key: str, params: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """Run an export on the bucket secret, for `remote_gen`: yield `{"progress", "message"}`, then the result."""
    call = ExportCall(job_id, user_id, job_type, {**params, "input_key": input_key}, output_key)
    yield from run_on_bucket(call, encode_chunk=encode_chunk)


@app.function(
    name=name_probe_function(RELEASE),
    image=_OPTIONS["image"],
    timeout=PROBE_TIMEOUT_SECONDS,
    max_containers=1,
)
def probe_callback(target: dict[str, Any]) -> dict[str, Any]:
    """Post a signed probe to the service, for `framehook doctor`; return what came back. Needs no GPU.

    By its name the service knows from which release the app was deployed.
    """
    return answer_probe(target)
