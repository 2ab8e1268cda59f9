"""Filters of webhook endpoints"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("webhook_endpoints", sa.Column("export_filter", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("webhook_endpoints", "export_filter")
