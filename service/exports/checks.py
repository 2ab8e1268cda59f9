"""What must hold before an export is accepted or started again.

Each check raises a problem that names the field.
"""

import asyncio
from collections.abc import Collection, Iterable

from sqlalchemy.ext.asyncio import AsyncSession

from gpu.config import ExportConfig
from infra.storage import InvalidKey, Storage
from service.clock import DAY_SECONDS
from service.jobs import erasures, queries, uploads
from service.problems import Conflict, FieldError, Invalid, OutputKeyInUse, Problem, QuotaExceeded, TooLarge

UPLOADS_PREFIX = "uploads/"
QUOTA_RETRY_SECONDS = 10
LOOKUPS_AT_ONCE = 16


class UploadInUse(Conflict):
    title = "An active export reads this file."
    code = "upload_in_use"


class FileExpired(Problem):
    title = "The file of the export was deleted at its `expires_at`; export it again."
    status = 410
    code = "expired"


class StorageQuotaExceeded(TooLarge):
    title = "Your files would take more room than you may use; delete exports or uploads first."
    code = "storage_quota_exceeded"


async def find_missing(storage: Storage, user_id: str, keys: Iterable[str]) -> set[str]:
    """Return those of the sources that were not uploaded."""
    slots = asyncio.Semaphore(LOOKUPS_AT_ONCE)

    async def is_missing(key: str) -> bool:
        async with slots:
            return await storage.find(user_id, key) is None

    keys = list(keys)
    return {
        key
        for key, missing in zip(keys, await asyncio.gather(*map(is_missing, keys)), strict=True)
        if missing
    }


def check_sources(config: ExportConfig, missing: Collection[str]) -> None:
    """Raise Invalid if a source of the export is missing."""
    for key in config.input_keys:
        if key in missing:
            raise _missing_source(key)


def check_output_place(storage: Storage, user_id: str, config: ExportConfig) -> None:
    """Raise Invalid if the output key is reserved for uploads or can't be a file."""
    key = config.output_key
    if key is None:
        return
    try:
        obstructed = storage.has_path_conflict(user_id, key)
    except InvalidKey:
        obstructed = True
    if key.startswith(UPLOADS_PREFIX):
        reason = "is reserved for uploads; choose one outside of uploads/"
    elif obstructed:
        reason = "can't be used: a file or folder of that name exists; choose another"
    else:
        return
    error = FieldError(loc=["config", "output_key"], msg=f"it {reason}")
    raise Invalid(f"The key {key!r} {reason}.", errors=[error])


def check_start(not_before: float | None, *, max_days: float, now: float) -> None:
    """Raise Invalid if the export is to start later than the operator allows."""
    if not_before is not None and not_before > now + max_days * DAY_SECONDS:
        reason = f"must be at most {max_days:g} days from now"
        raise Invalid(f"not_before {reason}.", errors=[FieldError(loc=["not_before"], msg=reason)])


async def check_quota(session: AsyncSession, user_id: str, max_queued: int, *, more: int = 1) -> None:
    """Raise QuotaExceeded if the user may not have as many exports more; call it in the user's turn (`lock_user`)."""
    active = await queries.count_active(session, user_id)
    if active + more <= max_queued:
        return
    if active >= max_queued:
        sentence = f"You already have {max_queued} pending or running exports, which is the limit; wait until one ends."
    else:
        sentence = f"You have {active} pending or running exports, and may have {max_queued}: {more} more are too many."
    raise QuotaExceeded(sentence, headers={"Retry-After": str(QUOTA_RETRY_SECONDS)})


async def check_bytes(session: AsyncSession, user_id: str, limit: int, *, more: int = 1) -> None:
    """Raise StorageQuotaExceeded if the user's files would take more than `limit` bytes; 0 means without a limit."""
    if limit and await uploads.sum_bytes(session, user_id) + more > limit:
        raise StorageQuotaExceeded(
            f"Your files may take {limit} bytes, which these would exceed; delete exports or uploads first."
        )


async def find_erased_folders(
    session: AsyncSession, user_id: str, configs: Iterable[ExportConfig], *, now: float
) -> set[str]:
    """Return the folders of sources that were deleted; call it in the user's turn only (`lock_user`)."""
    folders = {uploads.folder_of(key) for config in configs for key in config.input_keys}
    return await erasures.find_ids(session, user_id, [it for it in folders if it is not None], now=now)


def check_sources_kept(config: ExportConfig, erased_folders: Collection[str]) -> None:
    """Raise Invalid if a source was deleted since it was found."""
    for key in config.input_keys:
        if uploads.folder_of(key) in erased_folders:
            raise _missing_source(key)


def check_output_key(output_key: str, holder: str | None) -> None:
    """Raise OutputKeyInUse if another export has the key."""
    if holder is not None:
        taken = f"the export {holder} already uses this key; choose another or omit it"
        errors = [FieldError(loc=["config", "output_key"], msg=taken)]
        raise OutputKeyInUse(
            f"The export {holder} already uses the key {output_key!r}; choose another or omit it.",
            errors=errors,
        )


def _missing_source(key: str) -> Invalid:
    missing = FieldError(loc=["config", "input_key"], msg=f"the file {key!r} does not exist; upload it first")
    return Invalid(f"The file {key!r} does not exist; upload it first.", errors=[missing])
