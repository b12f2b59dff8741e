"""Who follows whom, from either side, and counts that are kept and not counted.

Every key begins with ``user_id``: a list is read in one place, and the tables can be distributed by it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    for table, other in (("following", "followed_id"), ("followers", "follower_id")):
        op.create_table(
            table,
            sa.Column("user_id", sa.BigInteger, primary_key=True),
            sa.Column(other, sa.BigInteger, primary_key=True),
            sa.Column("created_at", _TIME, nullable=False),
            sa.CheckConstraint(f"user_id <> {other}", name=f"{table}_not_oneself"),
        )
        op.create_index(f"{table}_newest", table, ["user_id", sa.text("created_at DESC"), sa.text(f"{other} DESC")])
    op.create_table(
        "follow_counts",
        sa.Column("user_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("followers", sa.BigInteger, nullable=False),
        sa.Column("following", sa.BigInteger, nullable=False),
        sa.CheckConstraint("followers >= 0 AND following >= 0", name="follow_counts_positive"),
    )
