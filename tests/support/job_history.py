"""Insert many finished exports, as copies of one."""

from sqlalchemy import text

from infra.database.base import Database
from service.jobs.models import Job

_CHANGED = {
    "job_id": "'copy-' || n.i",
    "completed_at": ":newest - (:count - n.i) * :apart",
    "output_key": "'x' || n.i",
}


async def copy_finished(
    database: Database, job_id: str, count: int, *, newest: float, apart_seconds: float = 0.01
) -> None:
    """Add exports that finished one after the other, the last of them at `newest`."""
    columns = ", ".join(Job.__struct_fields__)
    values = ", ".join(_CHANGED.get(name, name) for name in Job.__struct_fields__)
    statement = f"""
        INSERT INTO export_jobs ({columns})
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :count)
        SELECT {values} FROM export_jobs, n WHERE job_id = :job_id
    """  # noqa: S608 - made of constants
    async with database.transaction() as session:
        await session.execute(
            text(statement), {"count": count, "newest": newest, "apart": apart_seconds, "job_id": job_id}
        )
