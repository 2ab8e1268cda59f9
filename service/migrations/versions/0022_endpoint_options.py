"""Format, headers, rate limit and statistics of endpoints"""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    format_ = sa.Column("format", sa.String(), server_default="standard", nullable=False)
    op.add_column("webhook_endpoints", format_)
    op.add_column("webhook_endpoints", sa.Column("custom_headers", sa.Text(), nullable=True))
    op.add_column("webhook_endpoints", sa.Column("rate_limit", sa.Float(), nullable=True))
    op.create_table(
        "webhook_pacing",
        sa.Column("endpoint_id", sa.String(), nullable=False),
        sa.Column("next_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("endpoint_id"),
    )
    op.add_column("webhook_attempts", sa.Column("endpoint_id", sa.String(), nullable=True))
    op.create_index("ix_webhook_attempts_endpoint", "webhook_attempts", ["endpoint_id", "at"])


def downgrade() -> None:
    op.drop_index("ix_webhook_attempts_endpoint", "webhook_attempts")
    op.drop_column("webhook_attempts", "endpoint_id")
    op.drop_table("webhook_pacing")
    op.drop_column("webhook_endpoints", "rate_limit")
    op.drop_column("webhook_endpoints", "custom_headers")
    op.drop_column("webhook_endpoints", "format")
