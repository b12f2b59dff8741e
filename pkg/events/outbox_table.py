"""The outbox's table, for the migrations of each service that has one."""

import sqlalchemy as sa
from alembic import op


def create_outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("partition", sa.SmallInteger, primary_key=True),
        sa.Column("position", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("id", sa.BigInteger, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("traceparent", sa.Text, nullable=False),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True)),
    )
    waiting, published = sa.text("published_at IS NULL"), sa.text("published_at IS NOT NULL")
    op.create_index("outbox_waiting", "outbox", ["partition", "position"], postgresql_where=waiting)
    op.create_index("outbox_published", "outbox", ["published_at"], postgresql_where=published)
