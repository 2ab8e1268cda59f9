"""The index of pending deliveries by when they were scheduled"""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    is_pending = sa.text("state = 'pending'")
    op.create_index(
        "ix_webhook_deliveries_scheduled",
        "webhook_deliveries",
        ["scheduled_at", "next_at", "state"],
        sqlite_where=is_pending,
        postgresql_where=is_pending,
    )


def downgrade() -> None:
    op.drop_index("ix_webhook_deliveries_scheduled", table_name="webhook_deliveries")
