"""When the files of exports expire"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("export_jobs", sa.Column("expires_at", sa.Float(), nullable=True))
    op.add_column("export_jobs", sa.Column("expiry_step", sa.Integer(), server_default="0", nullable=False))
    can_expire = sa.text("expires_at IS NOT NULL AND status = 'complete' AND expiry_step < 2")
    op.create_index(
        "ix_export_jobs_expiring",
        "export_jobs",
        ["expires_at"],
        sqlite_where=can_expire,
        postgresql_where=can_expire,
    )


def downgrade() -> None:
    op.drop_index("ix_export_jobs_expiring", table_name="export_jobs")
    op.drop_column("export_jobs", "expiry_step")
    op.drop_column("export_jobs", "expires_at")
