"""Endpoints that are listeners"""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("webhook_endpoints", sa.Column("kind", sa.String(), server_default="url", nullable=False))
    op.add_column("webhook_endpoints", sa.Column("listened_at", sa.Float(), nullable=True))


def downgrade() -> None:
    op.drop_column("webhook_endpoints", "listened_at")
    op.drop_column("webhook_endpoints", "kind")
