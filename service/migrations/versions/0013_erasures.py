"""Exports that were erased: what is left to delete, and their stubs"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

INDEXES = (
    ("ix_erasures_due", ["next_at"], "next_at IS NOT NULL"),
    ("ix_erasures_export_id", ["user_id", "export_id"], "export_id IS NOT NULL"),
    ("ix_erasures_output", ["user_id", "output_key"], "output_key IS NOT NULL"),
)


def upgrade() -> None:
    op.create_table(
        "erasures",
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("export_id", sa.String(), nullable=True),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("call_id", sa.String(), nullable=True),
        sa.Column("output_key", sa.String(), nullable=True),
        sa.Column("is_moving", sa.Boolean(), nullable=False),
        sa.Column("erased_at", sa.Float(), nullable=False),
        sa.Column("sweeps", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("job_id"),
    )
    op.create_index("ix_erasures_erased_at", "erasures", ["erased_at"])
    for name, columns, condition in INDEXES:
        where = sa.text(condition)
        op.create_index(name, "erasures", columns, sqlite_where=where, postgresql_where=where)


def downgrade() -> None:
    for name, _, _ in INDEXES:
        op.drop_index(name, table_name="erasures")
    op.drop_index("ix_erasures_erased_at", table_name="erasures")
    op.drop_table("erasures")
