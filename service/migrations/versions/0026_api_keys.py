"""API keys"""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

TIMES = ("expires_at", "last_used_at", "revoked_at")


def upgrade() -> None:
    op.create_table(
        "api_keys",
        *(
            sa.Column(name, sa.String(), nullable=False)
            for name in ("key_id", "user_id", "name", "key_hash", "hint", "scopes")
        ),
        sa.Column("created_at", sa.Float(), nullable=False),
        *(sa.Column(name, sa.Float(), nullable=True) for name in TIMES),
        sa.PrimaryKeyConstraint("key_id"),
    )
    op.create_index("ix_api_keys_hash", "api_keys", ["key_hash"], unique=True)
    op.create_index("ix_api_keys_user", "api_keys", ["user_id", "key_id"])


def downgrade() -> None:
    op.drop_table("api_keys")
