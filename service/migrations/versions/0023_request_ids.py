"""The request that an export was created by, for its runs and webhooks"""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("export_jobs", sa.Column("request_id", sa.String(), nullable=True))
    op.add_column("webhook_deliveries", sa.Column("request_id", sa.String(), nullable=True))


def downgrade() -> None:
    op.execute("ALTER TABLE webhook_deliveries DROP COLUMN request_id")
    op.execute("ALTER TABLE export_jobs DROP COLUMN request_id")
