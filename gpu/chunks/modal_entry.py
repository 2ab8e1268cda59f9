"""A piece made for an export in another container: `{"content"}`, `{"error"}` or `{"stopped"}`, and the `seconds`.

It is made by a process of its own, as everywhere: so a decoder that hangs can be ended without the container.
"""

import logging
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import modal
from pydantic import ValidationError

from gpu.attempt import INTERNAL
from gpu.chunks.heartbeat import BEAT_SECONDS, Listener, tell_progress
from gpu.chunks.plan import Order
from gpu.chunks.process_worker import OwnProcess
from gpu.chunks.scheduler import made_by_crew
from gpu.errors import ExportError
from gpu.media import hwaccel

_USUAL = (1_280, 720)

log = logging.getLogger(__name__)


def made(order: dict[str, Any], board_id: str, name: str) -> dict[str, Any]:
    """Make the piece as long as somebody wants it; whatever goes wrong with it is returned."""
    begun = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="framehook-") as folder:
            parsed = Order.model_validate(order).model_copy(update={"path": Path(folder) / "piece.mp4"})
            value = _made(parsed, modal.Dict.from_id(board_id), name)
    except ExportError as error:
        value = _failed(error.code, error.message, transient=error.transient)
    except ValidationError:  # from another version of this
        value = _failed("invalid_call", "A part of the export can't be made: its order can't be read.")
    except Exception:  # the edge of the process: a piece's failure is never the call's
        log.exception("the piece failed unexpectedly")
        value = _failed(INTERNAL.code, INTERNAL.message, transient=INTERNAL.transient)
    return value | {"seconds": round(time.monotonic() - begun, 3)}


def _made(order: Order, board: modal.Dict, name: str) -> dict[str, Any]:
    listener = Listener(board)
    if not listener.wanted():
        return {"stopped": True}
    _check_card(order)
    tell_progress(board, name, 0)
    told = time.monotonic()
    with closing(made_by_crew([order], [OwnProcess()])) as making:
        for standing in making:
            if time.monotonic() - told < BEAT_SECONDS:
                continue
            if not listener.wanted():
                return {"stopped": True}
            tell_progress(board, name, int(standing.share * len(order.ticks)))
            told = time.monotonic()
    return {"content": order.path.read_bytes()}


def _check_card(order: Order) -> None:
    """Containers may have other cards, where several kinds are allowed: then the export begins anew in software."""
    encoder = order.encoder
    if encoder.on_card and hwaccel.refusal(encoder.name, encoder.options, *_USUAL) is not None:
        message = "A part of the export came to a machine whose card does not encode it."
        raise ExportError("encode_failed", message)


def _failed(code: str, message: str, *, transient: bool = False) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "transient": transient}}
