"""The job as hand-written backends show it, for frontends that were written for such a backend.

These know no cancelled exports and no objects in `error`, and read camelCase from their sockets.
"""

from typing import cast

import msgspec

from service.jobs.models import Job, Status
from service.jobs.serializers import Export, JobSerializer

CANCELLED_CODE = "cancelled"
CANCELLED_MESSAGE = "The export was cancelled."


class LegacySerializer(JobSerializer):
    """Serialize jobs for HTTP and streams with LEGACY_FRONTEND; webhooks keep the usual shape."""

    def to_dict(self, job: Job) -> Export:
        """Return the job object with `error` as a sentence and the fields that such frontends read."""
        is_cancelled = job.status is Status.CANCELLED
        changes = {
            "status": Status.ERROR if is_cancelled else job.status,
            "error": CANCELLED_MESSAGE if is_cancelled else job.error_message,
            "error_code": CANCELLED_CODE if is_cancelled else job.error_code,
            "project_name": job.project_name,
            "output_filename": job.output_key.rpartition("/")[2] if job.status is Status.COMPLETE else None,
        }
        return cast(Export, super().to_dict(job) | changes)  # routes pass it on without reading it

    def to_json(self, job: Job) -> bytes:
        """Return the job object as JSON, with each of its fields in camelCase, too."""
        shape = dict(self.to_dict(job))
        return msgspec.json.encode(shape | {_to_camel_case(name): value for name, value in shape.items()})


def _to_camel_case(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
