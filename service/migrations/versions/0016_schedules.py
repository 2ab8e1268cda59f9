"""Priorities, scheduled starts and time limits of exports"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

IS_ACTIVE = "status IN ('pending', 'processing')"
HAS_TIME_LIMIT = "(start_within_seconds IS NOT NULL OR deadline_seconds IS NOT NULL) AND completed_at IS NULL"
REQUIRED_TIMES = ("queue_time", "limits_since")
OPTIONAL_TIMES = ("scheduled_at", "start_within_seconds", "deadline_seconds", "first_started_at")


def upgrade() -> None:
    op.add_column("export_jobs", sa.Column("priority", sa.String(), nullable=False, server_default="normal"))
    for name in REQUIRED_TIMES:
        op.add_column("export_jobs", sa.Column(name, sa.Float(), nullable=False, server_default="0"))
    for name in OPTIONAL_TIMES:
        op.add_column("export_jobs", sa.Column(name, sa.Float(), nullable=True))
    op.execute(f"UPDATE export_jobs SET queue_time = created_at WHERE {IS_ACTIVE}")  # noqa: S608 - a constant
    for name, columns, condition in (
        ("ix_export_jobs_queue", ["status", "user_id", "queue_time", "job_id"], IS_ACTIVE),
        ("ix_export_jobs_time_limits", ["job_id"], HAS_TIME_LIMIT),
    ):
        where = sa.text(condition)
        op.create_index(name, "export_jobs", columns, sqlite_where=where, postgresql_where=where)


def downgrade() -> None:
    op.drop_index("ix_export_jobs_time_limits", table_name="export_jobs")
    op.drop_index("ix_export_jobs_queue", table_name="export_jobs")
    for column in ("priority", *REQUIRED_TIMES, *OPTIONAL_TIMES):
        op.drop_column("export_jobs", column)
