"""Whether an output is the video that its run reports: its bytes are looked at before it is published."""

import logging
from typing import Any, Protocol

from callbacks.envelope import Failure, Output
from gpu.spec import LocalFile, RemoteObject
from infra.storage import Storage, StorageUnavailable
from service.ingest.prober import TooManyProbes, UnreadableSource
from service.problems import Unavailable

logger = logging.getLogger("framehook.outcomes")

URL_SECONDS = 600
DURATION_TOLERANCE_SECONDS = 0.1
INCONCLUSIVE_CODES = frozenset({"probe_timeout", "source_missing"})
"""What says nothing about an output: this machine is busy, or the output was moved to its place meanwhile."""
INVALID = Failure(
    code="output_invalid", message="The exported file is not the video that its run reported.", transient=True
)


class SourceProber(Protocol):
    """Tells what is in a file, without harm to this process."""

    async def probe(self, user_id: str, place: LocalFile | RemoteObject) -> dict[str, Any]:
        """Raises Unprobed for what is no video; Unavailable, TooManyProbes if that can't be told now."""
        ...


class ProbeUnavailable(StorageUnavailable):
    """What is in an output can't be told now."""

    code = "probe_unavailable"


async def check_output(
    storage: Storage, prober: SourceProber, owner: tuple[str, str], keys: tuple[str, str], output: Output
) -> Failure | None:
    """Return what is wrong with an output, compared with its run's report; None too if there is nothing to compare.

    `owner` is the user and the job; `keys` are where the attempt wrote it, and where it lies if it was moved before.
    """
    user_id, job_id = owner
    for key in keys:
        stored = await storage.find(user_id, key)
        if stored is not None:
            break
    else:
        return None
    if stored.size != output.size:
        return None
    try:
        found = await prober.probe(job_id, await _place(storage, user_id, key))
    except UnreadableSource as fault:
        if fault.code in INCONCLUSIVE_CODES:
            raise ProbeUnavailable("what is in an output can't be told now") from fault
        logger.warning("job %s: its output is no video: %s", job_id, fault.code)
        return INVALID
    except (TooManyProbes, Unavailable) as away:
        raise ProbeUnavailable("what is in an output can't be told now") from away
    return None if _is_as_reported(found, output) else INVALID


async def _place(storage: Storage, user_id: str, key: str) -> LocalFile | RemoteObject:
    path = storage.local_path(user_id, key)
    if path is not None:
        return LocalFile(path=str(path))
    return RemoteObject(url=(await storage.sign_read_url(user_id, key, expires_seconds=URL_SECONDS)).url)


def _is_as_reported(found: dict[str, Any], output: Output) -> bool:
    same_size = (found["width"], found["height"]) == (output.width, output.height)
    return same_size and abs(found["duration"] - output.duration) <= DURATION_TOLERANCE_SECONDS
