"""Batches of exports"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

HAS_BATCH = "batch_id IS NOT NULL"


def upgrade() -> None:
    op.create_table(
        "export_batches",
        sa.Column("batch_id", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=True),
        sa.Column("metadata", sa.Text(), nullable=True),
        sa.Column("exports", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("completed_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("batch_id"),
    )
    op.add_column("export_jobs", sa.Column("batch_id", sa.String(), nullable=True))
    op.create_index("ix_export_batches_user", "export_batches", ["user_id", "batch_id"])
    for name, table, columns, condition in (
        (
            "ix_export_batches_completed",
            "export_batches",
            ["user_id", "completed_at"],
            "completed_at IS NOT NULL",
        ),
        ("ix_export_jobs_batch", "export_jobs", ["user_id", "batch_id", "job_id"], HAS_BATCH),
        (
            "ix_export_jobs_batch_active",
            "export_jobs",
            ["batch_id"],
            f"{HAS_BATCH} AND status IN ('pending', 'processing')",
        ),
    ):
        where = sa.text(condition)
        op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)


def downgrade() -> None:
    op.drop_index("ix_export_jobs_batch_active", table_name="export_jobs")
    op.drop_index("ix_export_jobs_batch", table_name="export_jobs")
    op.drop_column("export_jobs", "batch_id")
    op.drop_table("export_batches")
