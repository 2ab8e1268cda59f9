"""Who verifies and publishes an export's output: another may go on with it once that lease has run out"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("export_jobs", sa.Column("finalizer", sa.String(), nullable=True))


def downgrade() -> None:
    op.drop_column("export_jobs", "finalizer")
