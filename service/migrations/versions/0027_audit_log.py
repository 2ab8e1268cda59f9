"""The audit log"""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit_log",
        sa.Column("entry_id", sa.String(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        *(sa.Column(name, sa.String(), nullable=False) for name in ("action", "object_id", "actor")),
        *(
            sa.Column(name, sa.String(), nullable=True)
            for name in ("user_id", "key_id", "address", "request_id")
        ),
        sa.PrimaryKeyConstraint("entry_id"),
    )
    op.create_index("ix_audit_log_at", "audit_log", ["at"])
    op.create_index("ix_audit_log_user", "audit_log", ["user_id", "entry_id"])


def downgrade() -> None:
    op.drop_table("audit_log")
