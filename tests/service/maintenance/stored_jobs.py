"""Rows of exports and uploads, written without a service."""

import msgspec
from sqlalchemy import insert

from callbacks.envelope import Phase
from infra.database.base import Database
from service.jobs.models import JOBS, Job, Status
from service.jobs.uploads import Upload, insert_upload


def make_job(job_id: str, user_id: str = "ada", *, size: int | None = 3, **changes: object) -> Job:
    """Return a complete export whose output is at its usual key."""
    job = Job(
        job_id=job_id,
        user_id=user_id,
        type="framing",
        config="{}",
        input_key="uploads/match.mp4",
        output_key=f"exports/{job_id}.mp4",
        status=Status.COMPLETE,
        phase=Phase.FINALIZING,
        output_size=size,
        runner="local",
        created_at=1.0,
    )
    return msgspec.structs.replace(job, **changes)


async def store(database: Database, *rows: Job | Upload) -> None:
    """Insert rows in one transaction."""
    async with database.transaction() as session:
        for row in rows:
            if isinstance(row, Upload):
                await insert_upload(session, row)
            else:
                await session.execute(insert(JOBS).values(msgspec.structs.asdict(row)))
