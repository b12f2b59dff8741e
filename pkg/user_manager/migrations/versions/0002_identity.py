"""Accounts on their way out, names that nobody gets again, sessions that end when nobody uses them, and what happened
to an account.

Expand: code of before writes none of it. What it adds counts as active and as used when it was made.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("users", sa.Column("state", sa.Text, nullable=False, server_default="active"))
    op.create_check_constraint("users_state", "users", "state IN ('active', 'deleting')")
    op.create_table(
        "retired_names",
        # SHA-256 of the key. Like ``users`` a part of the directory.
        sa.Column("name_hash", sa.LargeBinary, primary_key=True),
        sa.Column("retired_at", _TIME, nullable=False),
        sa.CheckConstraint("octet_length(name_hash) = 32", name="retired_names_name_hash"),
    )
    op.add_column("tokens", sa.Column("client", sa.Text, nullable=False, server_default=""))
    # Sessions that are there count as used now, or those of people who are about would end; later ones as never yet.
    op.add_column("tokens", sa.Column("last_used_at", _TIME, server_default=sa.func.now()))
    op.alter_column("tokens", "last_used_at", server_default=None)
    op.create_index(
        "tokens_name", "tokens", ["user_id", "name"], unique=True, postgresql_where=sa.text("kind = 'api_token'")
    )
    # Across users: what is to be swept.
    op.create_index("tokens_expiry", "tokens", ["expires_at"])
    op.create_index("tickets_expiry", "tickets", ["expires_at"])
    op.create_table(
        "audit_events",
        sa.Column("user_id", sa.BigInteger, sa.ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("id", sa.BigInteger, primary_key=True),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("happened_at", _TIME, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("client", sa.Text, nullable=False),
    )
    op.create_index("audit_events_age", "audit_events", ["happened_at"])
