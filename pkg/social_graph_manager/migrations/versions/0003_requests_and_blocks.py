"""Who asked to follow whom, who has blocked whom, and when something was last told of a follower.

Expand: code of before knows none of it. It takes no part in the order of times, and asks nobody before it follows;
accounts are made private when no such code runs any more.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    for table, other in (
        ("incoming_requests", "follower_id"),
        ("outgoing_requests", "followed_id"),
        ("blocks", "blocked_id"),
    ):
        op.create_table(
            table,
            sa.Column("user_id", sa.BigInteger, primary_key=True),
            sa.Column(other, sa.BigInteger, primary_key=True),
            sa.Column("created_at", _TIME, nullable=False),
            sa.CheckConstraint(f"user_id <> {other}", name=f"{table}_not_oneself"),
        )
        op.create_index(f"{table}_newest", table, ["user_id", sa.text("created_at DESC"), sa.text(f"{other} DESC")])
    # Across users: by whom somebody is blocked.
    op.create_index("blocks_by", "blocks", ["blocked_id", "user_id"])
    op.add_column("follow_counts", sa.Column("told_at", _TIME))
