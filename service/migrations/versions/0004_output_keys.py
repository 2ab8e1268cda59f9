"""An index to find who has an output key"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_export_jobs_output", "export_jobs", ["user_id", "output_key"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_export_jobs_output", table_name="export_jobs")
