"""The GPU-seconds of all runs but the latest, so that ticks may tell those of the latest again and again"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    column = sa.Column("gpu_seconds_before", sa.Float(), nullable=False, server_default="0")
    op.add_column("export_jobs", column)
    op.execute("UPDATE export_jobs SET gpu_seconds_before = gpu_seconds")


def downgrade() -> None:
    op.drop_column("export_jobs", "gpu_seconds_before")
