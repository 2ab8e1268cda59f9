"""An index by which the exports of a batch are counted"""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    where = sa.text("batch_id IS NOT NULL")
    op.create_index(
        "ix_export_jobs_batch_totals",
        "export_jobs",
        ["batch_id", "status"],
        sqlite_where=where,
        postgresql_where=where,
    )


def downgrade() -> None:
    op.drop_index("ix_export_jobs_batch_totals", table_name="export_jobs")
