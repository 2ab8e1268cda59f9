"""Build the AttemptSpec of a claimed job."""

import base64

import msgspec

from callbacks.signing import derive_attempt_key
from gpu.export_types.registry import parse_config
from gpu.spec import AttemptSpec, CallbackTarget
from service.dispatch.runners import Runner
from service.dispatch.transfer_plan import TransferPlanner
from service.jobs.models import Job


class SpecBuilder:
    """Describe attempts to the runner: config, transfers, callback URL and key."""

    def __init__(
        self,
        runner: Runner,
        transfers: TransferPlanner,
        *,
        origin: str,
        master_key: bytes,
        deadline_seconds: float,
    ) -> None:
        """`origin` is where runs reach this service; each attempt's key is derived from `master_key`."""
        self._runner = runner
        self._transfers = transfers
        self._origin = origin
        self._master_key = master_key
        self._deadline_seconds = deadline_seconds

    async def build(self, job: Job) -> AttemptSpec:
        """Return the spec of the job's current attempt.

        Raises ValidationError for a stored config that another version wrote, UnknownExportType for a type whose
        package was removed, InvalidKey for a key that can no longer be used, StorageError.
        """
        config = parse_config(job.type, msgspec.json.decode(job.config))
        key = derive_attempt_key(self._master_key, job.job_id, job.attempt)
        return AttemptSpec(
            job_id=job.job_id,
            attempt=job.attempt,
            call_id=self._runner.call_id_for(job.job_id, job.attempt),
            type=job.type,
            config=config,
            transfer=await self._transfers.plan(job, config, key),
            callback=CallbackTarget(
                url=f"{self._origin}/api/callbacks/{job.job_id}", key=base64.b64encode(key).decode()
            ),
            request_id=job.request_id,
            traceparent=job.traceparent,
            deadline_seconds=self._deadline_seconds,
        )
