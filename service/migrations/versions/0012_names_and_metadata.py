"""Names and metadata that clients give exports, and the index of the metadata"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("export_jobs", sa.Column("name", sa.String(), nullable=True))
    op.add_column("export_jobs", sa.Column("metadata", sa.Text(), nullable=True))
    op.add_column("export_jobs", sa.Column("edited_at", sa.Float(), nullable=True))
    was_edited = sa.text("edited_at IS NOT NULL")
    op.create_index(
        "ix_export_jobs_edited",
        "export_jobs",
        ["user_id", "edited_at"],
        sqlite_where=was_edited,
        postgresql_where=was_edited,
    )
    op.create_table(
        "job_metadata",
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("entry", sa.String(), nullable=False),
        sa.Column("job_id", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "entry", "job_id"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    op.drop_table("job_metadata")
    op.drop_index("ix_export_jobs_edited", table_name="export_jobs")
    for column in ("edited_at", "metadata", "name"):
        op.drop_column("export_jobs", column)
