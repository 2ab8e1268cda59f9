"""A process that reads untrusted files for the service, and may crash without harm.

It reads one line of JSON from standard input and exits when standard input is closed. Standard output gets one JSON
object: `source`, or `error` (code, message, transient, loc) as an export would report it. Nothing is written to disk,
and above MEMORY_BYTES of memory the process exits.
"""

import json
import logging
import os
import resource
import select
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from callbacks.log_format import log_to_stderr
from gpu.errors import INTERNAL, OUT_OF_MEMORY, ExportError, failure_dict, failure_from
from gpu.memory import resident_memory_bytes
from gpu.spec import LocalFile, RemoteObject
from gpu.transfer.http_client import MAX_TRANSFER_SECONDS
from gpu.transfer.objects import open_source

if TYPE_CHECKING:
    from gpu.transfer.limited_reader import ByteBudget
    from gpu.transfer.range_reader import SourceLocation

MEMORY_BYTES = 1_536 * 2**20
# How much of remote objects may be read; to find the length of one, all its packets may have to be read.
MAX_REMOTE_BYTES = 2**30
_POLL_SECONDS = 0.1
_KEY = "source"

Request = TypeVar("Request")
Answer = Mapping[str, Any]
SOURCE = TypeAdapter[LocalFile | RemoteObject](LocalFile | RemoteObject)
"""A request that is a source, and nothing else."""

log = logging.getLogger(__name__)


def run_process(form: TypeAdapter[Request], answer_request: Callable[[Request], Answer]) -> int:
    """Read a request of this form, answer it within the process's limits, and return the exit status."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    log_to_stderr(os.environ.get("LOG_FORMAT", "text"), logging.ERROR)
    try:
        request = form.validate_json(sys.stdin.buffer.readline())
    except ValidationError:
        return 2
    threading.Thread(target=_watch, daemon=True).start()
    try:
        answer: dict[str, Any] = {"source": answer_request(request)}
    except ExportError as error:
        answer = {"error": failure_dict(failure_from(error)) | {"loc": error.loc}}
    except Exception:  # the edge of the process: the parent must get an answer to any failure
        log.exception("a request about a source could not be answered")
        answer = {"error": failure_dict(INTERNAL)}
    _write_answer(answer)
    return 0


def open_request(request: LocalFile | RemoteObject, budget: "ByteBudget | None" = None) -> "SourceLocation":
    """Open the source of a request; what is read of an object takes from the budget.

    Raises ExportError: source_missing, and the errors of a RangeSource.
    """
    if isinstance(request, RemoteObject):
        from gpu.transfer.limited_reader import ByteBudget, open_limited

        budget = budget or ByteBudget(MAX_REMOTE_BYTES)
        return open_limited(request.url, budget=budget, deadline_seconds=MAX_TRANSFER_SECONDS)
    return open_source(_KEY, {_KEY: request}, Path(os.devnull))


def _watch() -> None:
    """Exit when standard input is closed or memory is exceeded, even inside a decoder."""
    while not select.select([0], [], [], _POLL_SECONDS)[0]:
        if resident_memory_bytes() > MEMORY_BYTES:
            _write_answer({"error": failure_dict(OUT_OF_MEMORY)})
            os._exit(1)
    os._exit(1)


def _write_answer(answer: dict[str, Any]) -> None:
    """Write an answer with a single call, because two threads may write."""
    os.write(1, json.dumps(answer).encode() + b"\n")
