"""How long runs take: what is known of sources, the forecast of each export, and the learned rates"""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "run_rates",
        sa.Column("kind", sa.String(), nullable=False),
        *(
            sa.Column(name, sa.Float(), nullable=False)
            for name in ("log_ratio", "variance", "weight", "factor", "learned_at")
        ),
        sa.PrimaryKeyConstraint("kind"),
    )
    op.create_index("ix_run_rates_learned_at", "run_rates", ["learned_at"])
    op.add_column("uploads", sa.Column("facts", sa.Text(), nullable=True))
    op.add_column("export_jobs", sa.Column("work", sa.Text(), nullable=True))
    op.add_column("export_jobs", sa.Column("forecast_seconds", sa.Float(), nullable=True))
    op.add_column("export_jobs", sa.Column("forecast_high_seconds", sa.Float(), nullable=True))


def downgrade() -> None:
    for name in ("forecast_high_seconds", "forecast_seconds", "work"):
        op.drop_column("export_jobs", name)
    op.drop_column("uploads", "facts")
    op.drop_index("ix_run_rates_learned_at", table_name="run_rates")
    op.drop_table("run_rates")
