"""Accounts that are being deleted, and how far that is.

Expand: code of before knows none of it, and begins no deletion.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "account_deletions",
        sa.Column("user_id", sa.BigInteger, sa.ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("step", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("last_error", sa.Text, nullable=False),
        sa.Column("started_at", _TIME, nullable=False),
        sa.Column("due_at", _TIME, nullable=False),
        sa.CheckConstraint(
            "step IN ('waiting', 'social_graph', 'links', 'news', 'account')", name="account_deletions_step"
        ),
    )
    # Across users: what is to be worked on. Few rows at any time.
    op.create_index("account_deletions_due", "account_deletions", ["due_at"])
