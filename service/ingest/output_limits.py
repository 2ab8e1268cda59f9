"""The size limit of an output: what an export may need, and no more than the settings allow."""

import asyncio

import msgspec
from pydantic import ValidationError

from gpu.export_types.registry import UnknownExportType, parse_config
from infra.storage import Storage
from service.jobs.models import Job

ALWAYS_ALLOWED_BYTES = 16 * 2**30
"""Enough for hours of slow motion at the best quality, from any source."""
SOURCE_FACTOR = 20
"""Allows for a source that is compressed far better than by a common encoder."""


async def max_output_bytes(storage: Storage, job: Job, limit_bytes: int) -> int:
    """Return the limit of the job's output in bytes, from the size of its sources."""
    stored = await asyncio.gather(*(storage.find(job.user_id, key) for key in _input_keys(job)))
    source_bytes = sum(source.size for source in stored if source is not None)
    return min(limit_bytes, max(ALWAYS_ALLOWED_BYTES, SOURCE_FACTOR * source_bytes))


def _input_keys(job: Job) -> list[str]:
    try:
        config = parse_config(job.type, msgspec.json.decode(job.config))
    except (ValidationError, UnknownExportType):
        # Another version wrote the config, or the package of the export type is no longer installed.
        return [job.input_key]
    return list(config.input_keys)
