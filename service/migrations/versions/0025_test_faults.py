"""Faults of test events"""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("webhook_deliveries", sa.Column("fault", sa.String(), nullable=True))


def downgrade() -> None:
    op.drop_column("webhook_deliveries", "fault")
