"""What must hold before an export is accepted or started again.

Each check raises a problem that names the field.
"""

from sqlalchemy.ext.asyncio import AsyncSession

from gpu.config import ExportConfig
from infra.egress import EgressClient
from infra.storage import InvalidKey, Storage
from service.exports.models import ExportRequest
from service.jobs import erasures, queries, uploads
from service.problems import Conflict, FieldError, Invalid, OutputKeyInUse, Problem, QuotaExceeded, TooLarge
from service.webhooks import endpoints

UPLOADS_PREFIX = "uploads/"
QUOTA_RETRY_SECONDS = 10
DAY_SECONDS = 86_400


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


async def check_request(
    storage: Storage,
    egress: EgressClient,
    user_id: str,
    request: ExportRequest,
    *,
    max_days: float,
    now: float,
) -> None:
    """Raise Invalid for what depends on no other export: its start, its sources, its output key, its webhook URL."""
    check_start(request.schedule.not_before, max_days=max_days, now=now)
    await check_sources(storage, user_id, request.config)
    check_output_place(storage, user_id, request.config)
    if request.webhook_url is not None:
        await endpoints.check_url(egress, request.webhook_url, "webhook_url")


async def check_sources(storage: Storage, user_id: str, config: ExportConfig) -> None:
    """Raise Invalid if a source of the export was not uploaded."""
    for key in config.input_keys:
        if await storage.find(user_id, key) is None:
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


async def check_quota(session: AsyncSession, user_id: str, max_queued: int) -> None:
    """Raise QuotaExceeded; call it in the user's turn only (`lock_user`)."""
    if await queries.count_active(session, user_id) >= max_queued:
        raise QuotaExceeded(
            f"You already have {max_queued} pending or running exports, which is the limit; wait until one ends.",
            headers={"Retry-After": str(QUOTA_RETRY_SECONDS)},
        )


async def check_bytes(session: AsyncSession, user_id: str, limit: int, *, more: int = 1) -> None:
    """Raise StorageQuotaExceeded if the user's files would take more than `limit` bytes; 0 means without a limit."""
    if limit and await uploads.sum_bytes(session, user_id) + more > limit:
        raise StorageQuotaExceeded(
            f"Your files may take {limit} bytes, which these would exceed; delete exports or uploads first."
        )


async def check_sources_kept(
    session: AsyncSession, user_id: str, config: ExportConfig, *, now: float
) -> None:
    """Raise Invalid if a source was deleted since it was found.

    Call it in the user's turn only (`lock_user`).
    """
    for key in config.input_keys:
        folder = uploads.folder_of(key)
        if folder is not None and await erasures.find(session, user_id, folder, now=now) is not None:
            raise _missing_source(key)


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


def _missing_source(key: str) -> Invalid:
    missing = FieldError(loc=["config", "input_key"], msg=f"the file {key!r} does not exist; upload it first")
    return Invalid(f"The file {key!r} does not exist; upload it first.", errors=[missing])
