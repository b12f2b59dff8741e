"""Users, their tokens and their tickets.

``users`` is the directory: small, read by everybody, unique by name. Where Postgres is distributed it is the table that
every node has whole. The others are keyed by user first; what is found by hash has an index for it, which need not be
unique: two hashes of 256 random bits do not meet.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "users",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("name", sa.Text, nullable=False),
        # Compared and never sorted for people; an order that no library update changes keeps the index true.
        sa.Column("name_key", sa.Text(collation="C"), nullable=False),
        sa.Column("display_name", sa.Text, nullable=False),
        sa.Column("email", sa.Text, nullable=False),
        sa.Column("private", sa.Boolean, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("provider", sa.Text(collation="C"), nullable=False),
        sa.Column("subject", sa.Text(collation="C"), nullable=False),
        sa.UniqueConstraint("name_key", name="users_name_key"),
        sa.UniqueConstraint("provider", "subject", name="users_identity"),
    )
    op.create_table(
        "tokens",
        sa.Column("user_id", sa.BigInteger, sa.ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("id", sa.BigInteger, primary_key=True),
        sa.Column("token_hash", sa.LargeBinary, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("scopes", sa.ARRAY(sa.Text), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.CheckConstraint("octet_length(token_hash) = 32", name="tokens_token_hash"),
        sa.CheckConstraint("kind IN ('session', 'api_token')", name="tokens_kind"),
    )
    op.create_index("tokens_hash", "tokens", ["token_hash"])
    op.create_table(
        "tickets",
        sa.Column("user_id", sa.BigInteger, sa.ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("ticket_hash", sa.LargeBinary, primary_key=True),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.CheckConstraint("octet_length(ticket_hash) = 32", name="tickets_ticket_hash"),
    )
    op.create_index("tickets_hash", "tickets", ["ticket_hash"])
