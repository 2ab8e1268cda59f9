"""Encode a chunk for an export that runs in another container.

The chunk is encoded in a separate process, as everywhere, so that a decoder that hangs can be killed without the
container.
"""

import logging
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import modal
from pydantic import ValidationError

from callbacks.envelope import Failure
from gpu.chunks.heartbeat import HEARTBEAT_SECONDS, HeartbeatMonitor, write_progress
from gpu.chunks.plan import ChunkSpec
from gpu.chunks.process_worker import ProcessWorker
from gpu.chunks.scheduler import encode_chunks
from gpu.errors import INTERNAL, ExportError, failure_dict, failure_from
from gpu.media import hwaccel

_UNREADABLE_SPEC = Failure(
    code="invalid_call", message="A part of the export could not be encoded: its description can't be read."
)
_PROBE_SIZE = (1_280, 720)

log = logging.getLogger(__name__)


def encode_chunk_remote(chunk: dict[str, Any], channel_id: str, name: str) -> dict[str, Any]:
    """Encode the chunk while its export lives; return `content`, `error` or `stopped`, and `seconds`.

    Failures are returned, never raised.
    """
    started_at = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="framehook-") as folder:
            parsed = ChunkSpec.model_validate(chunk).model_copy(update={"path": Path(folder) / "chunk.mp4"})
            value = _encode(parsed, modal.Dict.from_id(channel_id), name)
    except ExportError as error:
        value = {"error": failure_dict(failure_from(error))}
    except ValidationError:  # from another version of the app
        value = {"error": failure_dict(_UNREADABLE_SPEC)}
    except Exception:  # the edge of the process: the call itself must not fail
        log.exception("the chunk failed unexpectedly")
        value = {"error": failure_dict(INTERNAL)}
    return value | {"seconds": round(time.monotonic() - started_at, 3)}


def _encode(chunk: ChunkSpec, channel: modal.Dict, name: str) -> dict[str, Any]:
    monitor = HeartbeatMonitor(channel)
    if not monitor.is_parent_alive():
        return {"stopped": True}
    _check_gpu(chunk)
    write_progress(channel, name, 0)
    reported_at = time.monotonic()
    with closing(encode_chunks([chunk], [ProcessWorker()])) as encoding:
        for progress in encoding:
            if time.monotonic() - reported_at < HEARTBEAT_SECONDS:
                continue
            if not monitor.is_parent_alive():
                return {"stopped": True}
            write_progress(channel, name, int(progress.fraction * len(chunk.ticks)))
            reported_at = time.monotonic()
    return {"content": chunk.path.read_bytes()}


def _check_gpu(chunk: ChunkSpec) -> None:
    """Raise encode_failed if this GPU lacks the encoder; the export then starts again in software.

    Containers may have different GPUs where MODAL_GPU allows several kinds.
    """
    encoder = chunk.encoder
    if (
        encoder.is_hardware
        and hwaccel.find_encoder_error(encoder.name, encoder.options, *_PROBE_SIZE) is not None
    ):
        message = "A chunk was scheduled on a machine whose GPU has no such encoder."
        raise ExportError("encode_failed", message)
