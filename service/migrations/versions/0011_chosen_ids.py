"""Ids that clients choose for exports, and project ids that are numbers"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("export_jobs", sa.Column("project_number", sa.BigInteger(), nullable=True))
    op.add_column("export_jobs", sa.Column("project_name", sa.String(), nullable=True))
    op.add_column("export_jobs", sa.Column("export_id", sa.String(), nullable=True))
    op.add_column("export_jobs", sa.Column("body_hash", sa.String(), nullable=True))
    has_project = sa.text("project_id IS NOT NULL")
    op.create_index(
        "ix_export_jobs_project",
        "export_jobs",
        ["user_id", "project_id", "job_id"],
        sqlite_where=has_project,
        postgresql_where=has_project,
    )
    has_export_id = sa.text("export_id IS NOT NULL")
    op.create_index(
        "ux_export_jobs_export_id",
        "export_jobs",
        ["user_id", "export_id"],
        unique=True,
        sqlite_where=has_export_id,
        postgresql_where=has_export_id,
    )


def downgrade() -> None:
    op.drop_index("ux_export_jobs_export_id", table_name="export_jobs")
    op.drop_index("ix_export_jobs_project", table_name="export_jobs")
    for column in ("body_hash", "export_id", "project_name", "project_number"):
        op.drop_column("export_jobs", column)
