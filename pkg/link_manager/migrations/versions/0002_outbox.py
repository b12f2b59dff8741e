"""What is told of links, when each was checked, from when on it waits for that, and how often it was asked for again.

Expand: code of before writes none of the new columns. Its links count as asked for when they were saved, and so do
those that are there already, as of now.
"""

import sqlalchemy as sa
from alembic import op

from pkg.events.outbox_table import create_outbox

revision = "0002"
down_revision = "0001"

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    create_outbox()
    op.add_column("links", sa.Column("checked_at", _TIME))
    op.add_column("links", sa.Column("check_asked_at", _TIME, nullable=False, server_default=sa.func.now()))
    op.add_column("links", sa.Column("checks_asked_again", sa.Integer, nullable=False, server_default="0"))
    # Across users, and so of pending links alone: a sweep reads no other.
    op.create_index("links_waiting", "links", ["check_asked_at"], postgresql_where=sa.text("status = 0"))
