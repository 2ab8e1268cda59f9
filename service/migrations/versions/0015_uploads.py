"""Uploads of users, whose sizes count for their limit"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

# Sizes are unknown here. The service looks for files whose URL has expired, as all of these have, and stores them.
ADOPT = """
INSERT INTO uploads (user_id, key, size, created_at, expires_at)
SELECT user_id, input_key, 0, min(created_at), 0 FROM export_jobs
WHERE input_key LIKE 'uploads/%' GROUP BY user_id, input_key
"""


def upgrade() -> None:
    op.create_table(
        "uploads",
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False),
        sa.Column("stored_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("user_id", "key"),
    )
    op.create_index("ix_uploads_created_at", "uploads", ["created_at"])
    is_announced = sa.text("stored_at IS NULL")
    op.create_index(
        "ix_uploads_announced",
        "uploads",
        ["expires_at"],
        sqlite_where=is_announced,
        postgresql_where=is_announced,
    )
    op.execute(ADOPT)


def downgrade() -> None:
    op.drop_index("ix_uploads_announced", table_name="uploads")
    op.drop_index("ix_uploads_created_at", table_name="uploads")
    op.drop_table("uploads")
