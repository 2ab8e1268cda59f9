"""Verify that an output is the file that its run reports, before it is published."""

import logging
from typing import Any, Protocol

from callbacks.envelope import Failure, Output
from gpu.export_types.registry import UnknownExportType, find_export_type
from gpu.spec import LocalFile, RemoteObject
from infra.storage import Storage, StorageUnavailable
from service.ingest.prober import TooManyProbes, UnreadableSource, locate_object
from service.jobs.models import Job
from service.problems import Unavailable

logger = logging.getLogger("framehook.outcomes")

DURATION_TOLERANCE_SECONDS = 0.1
INCONCLUSIVE_CODES = frozenset({"probe_timeout", "source_missing"})
"""Failures that say nothing about the output: the machine is busy, or the output was just moved."""
INVALID = Failure(
    code="output_invalid", message="The exported file does not match the report of its run.", transient=True
)
TYPE_REMOVED = Failure(
    code="unknown_export_type", message="The service has no such export type any more; install its package."
)


class SourceProber(Protocol):
    """Describe a file without decoding it in this process."""

    async def probe(
        self, user_id: str, location: LocalFile | RemoteObject, *, output_type: str | None = None
    ) -> dict[str, Any]:
        """Return the file's description. Raises UnreadableSource, Unavailable, TooManyProbes."""
        ...


class ProbeUnavailable(StorageUnavailable):
    """The output can't be verified now."""

    code = "probe_unavailable"


async def check_output(
    storage: Storage, prober: SourceProber, job: Job, keys: tuple[str, str], output: Output
) -> Failure | None:
    """Return how an output differs from its run's report; None also without a stored output.

    `keys` are the one to which the attempt wrote, and the one to which it is moved. An MP4 is probed as a source would
    be; any other output is checked as its export type says.
    """
    user_id, job_id = job.user_id, job.job_id
    try:
        export_type = find_export_type(job.type)
    except UnknownExportType:
        return TYPE_REMOVED
    for key in keys:
        stored = await storage.find(user_id, key)
        if stored is not None:
            break
    else:
        return None
    if stored.size != output.size:
        return None
    try:
        location = await locate_object(storage, user_id, key)
        output_type = None if export_type.is_video else export_type.name
        description = await prober.probe(job_id, location, output_type=output_type)
    except UnreadableSource as error:
        if error.code in INCONCLUSIVE_CODES:
            raise ProbeUnavailable("an output can't be verified now") from error
        logger.warning("job %s: its output is no %s: %s", job_id, export_type.content_type, error.code)
        return INVALID
    except (TooManyProbes, Unavailable) as error:
        raise ProbeUnavailable("an output can't be verified now") from error
    return None if _is_as_reported(description, output) else INVALID


def _is_as_reported(description: dict[str, Any], output: Output) -> bool:
    """Compare what could be measured: an image has no duration, other files have no picture either."""
    size = description.get("width", output.width), description.get("height", output.height)
    duration: float = description.get("duration", output.duration)
    is_same_size = size == (output.width, output.height)
    return is_same_size and abs(duration - output.duration) <= DURATION_TOLERANCE_SECONDS
