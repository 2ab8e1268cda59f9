"""What must hold before an export is accepted or started again.

Each check raises a problem that names the field.
"""

from sqlalchemy.ext.asyncio import AsyncSession

from gpu.config import ExportConfig
from infra.storage import InvalidKey, Storage
from service.jobs import queries
from service.problems import FieldError, Invalid, OutputKeyInUse, QuotaExceeded

UPLOADS_PREFIX = "uploads/"
QUOTA_RETRY_SECONDS = 10


async def check_sources(storage: Storage, user_id: str, config: ExportConfig) -> None:
    """Raise Invalid if a source of the export was not uploaded."""
    for key in config.input_keys:
        if await storage.find(user_id, key) is None:
            missing = FieldError(
                loc=["config", "input_key"], msg=f"the file {key!r} does not exist; upload it first"
            )
            raise Invalid(f"The file {key!r} does not exist; upload it first.", errors=[missing])


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


async def check_quota(session: AsyncSession, user_id: str, max_queued: int) -> None:
    """Raise QuotaExceeded; call it in the user's turn only (`lock_user`)."""
    if await queries.count_active(session, user_id) >= max_queued:
        raise QuotaExceeded(
            f"You already have {max_queued} pending or running exports, which is the limit; wait until one ends.",
            headers={"Retry-After": str(QUOTA_RETRY_SECONDS)},
        )


async def check_output_key(
    session: AsyncSession, user_id: str, output_key: str, *, now: float, except_job_id: str = ""
) -> None:
    """Raise OutputKeyInUse if another export has the key.

    Call it in the user's turn only (`lock_user`).
    """
    holder = await queries.find_key_holder(session, user_id, output_key, now=now, excluding=except_job_id)
    if holder is not None:
        taken = f"the export {holder} already uses this key; choose another or omit it"
        errors = [FieldError(loc=["config", "output_key"], msg=taken)]
        raise OutputKeyInUse(
            f"The export {holder} already uses the key {output_key!r}; choose another or omit it.",
            errors=errors,
        )
