"""When a delivery's next attempt was scheduled, to notice that the clock has been set back since"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("webhook_deliveries", sa.Column("scheduled_at", sa.Float(), nullable=True))


def downgrade() -> None:
    op.drop_column("webhook_deliveries", "scheduled_at")
