"""Ticks touch no index, and find room beside the row that they replace"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_ACTIVE = sa.text("status IN ('pending', 'processing')")


def upgrade() -> None:
    # What is silent is found among the active jobs, which are few; this index was written anew by every tick.
    op.drop_index("ix_export_jobs_heartbeat", "export_jobs")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE export_jobs SET (fillfactor = 70)")


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE export_jobs RESET (fillfactor)")
    op.create_index(
        "ix_export_jobs_heartbeat",
        "export_jobs",
        ["heartbeat_at"],
        sqlite_where=_ACTIVE,
        postgresql_where=_ACTIVE,
    )
