"""The call that the newest report named, beside the one that the runner started"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("export_jobs", sa.Column("reported_call_id", sa.String(), nullable=True))


def downgrade() -> None:
    op.drop_column("export_jobs", "reported_call_id")
