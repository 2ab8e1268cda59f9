"""How large an export's output may be: so much as it can need, and no more than the settings allow."""

import asyncio

import msgspec
from pydantic import ValidationError

from gpu.export_types.registry import UnknownExportType, parse_config
from infra.storage import Storage
from service.jobs.models import Job

ALWAYS_ALLOWED_BYTES = 16 * 2**30
"""Hours of slow motion at the best quality, whatever the source."""
SOURCE_FACTOR = 20
"""A source that was compressed far better than an encoder for everybody does."""


async def max_output_bytes(storage: Storage, job: Job, limit_bytes: int) -> int:
    """Return how many bytes the job's output may have, by those of its sources."""
    stored = await asyncio.gather(*(storage.find(job.user_id, key) for key in _input_keys(job)))
    source_bytes = sum(source.size for source in stored if source is not None)
    return min(limit_bytes, max(ALWAYS_ALLOWED_BYTES, SOURCE_FACTOR * source_bytes))


def _input_keys(job: Job) -> list[str]:
    try:
        config = parse_config(job.type, msgspec.json.decode(job.config))
    except (ValidationError, UnknownExportType):  # written by another version, or with a package that is gone
        return [job.input_key]
    return list(config.input_keys)
