"""What each user was given lately, and the places that are held: whose turn it is goes by these"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "user_service",
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("user_id"),
    )
    op.create_index("ix_user_service_at", "user_service", ["at"], unique=False)
    op.create_table(
        "occupied_places",
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("since", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("job_id"),
    )
    op.execute(
        "INSERT INTO occupied_places (job_id, attempt, user_id, since) "
        "SELECT job_id, attempt, user_id, coalesce(spawned_at, started_at, created_at) FROM export_jobs "
        "WHERE status IN ('pending', 'processing') "
        "AND (status = 'processing' OR call_id IS NOT NULL OR lease_until IS NOT NULL)"
    )


def downgrade() -> None:
    op.drop_table("occupied_places")
    op.drop_index("ix_user_service_at", table_name="user_service")
    op.drop_table("user_service")
