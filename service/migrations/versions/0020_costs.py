"""What exports cost, and the totals of each day"""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

OPTIONAL = ("max_cost_usd", "usd_per_second", "counted_gpu_seconds", "held_until")
SUMS = ("output_seconds", "gpu_seconds", "cost_usd", "unpriced_gpu_seconds")
HAS_ENDED = "status IN ('complete', 'error', 'cancelled') AND completed_at IS NOT NULL"


def upgrade() -> None:
    for name in OPTIONAL:
        op.add_column("export_jobs", sa.Column(name, sa.Float(), nullable=True))
    op.add_column("export_jobs", sa.Column("cost_usd", sa.Float(), nullable=True, server_default="0"))
    op.add_column("export_jobs", sa.Column("counted_usd", sa.Float(), nullable=False, server_default="0"))
    # What a GPU cost then is not known any more; a machine of one's own cost nothing.
    op.execute("UPDATE export_jobs SET cost_usd = NULL WHERE runner <> 'local' AND gpu_seconds > 0")
    op.execute("UPDATE export_jobs SET usd_per_second = 0 WHERE runner = 'local' AND completed_at IS NULL")
    op.create_table(
        "usage_days",
        sa.Column("day", sa.Integer(), autoincrement=False, nullable=False),
        *(sa.Column(name, sa.String(), nullable=False) for name in ("user_id", "project_id", "type")),
        sa.Column("exports", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.Float(), nullable=False) for name in SUMS),
        sa.PrimaryKeyConstraint("day", "user_id", "project_id", "type"),
    )
    op.create_index("ix_usage_days_user", "usage_days", ["user_id", "day"])
    day = "CAST(completed_at AS BIGINT) / 86400"
    op.execute(f"""
        INSERT INTO usage_days
        SELECT {day}, user_id, coalesce(project_id, ''), type, count(*),
            sum(CASE WHEN status = 'complete' THEN coalesce(output_duration, 0) ELSE 0 END), sum(gpu_seconds), 0,
            sum(CASE WHEN cost_usd IS NULL THEN gpu_seconds ELSE 0 END)
        FROM export_jobs WHERE {HAS_ENDED}
        GROUP BY {day}, user_id, coalesce(project_id, ''), type
    """)  # noqa: S608 - constants


def downgrade() -> None:
    op.drop_index("ix_usage_days_user", table_name="usage_days")
    op.drop_table("usage_days")
    for name in (*OPTIONAL, "cost_usd", "counted_usd"):
        op.drop_column("export_jobs", name)
