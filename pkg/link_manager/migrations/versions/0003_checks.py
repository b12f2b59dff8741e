"""What is known of a URL, once for all who saved it; and with each link, what of that is shown.

Expand: code of before writes none of it. ``check_asked_at`` is infinite for a link whose URL has its row in
``link_checks``; links of before, and those that code of before adds meanwhile, have a time there until a sweep gives
their URL its row. ``links_waiting`` and ``checks_asked_again`` are of no use any more, and go when no code of before
runs.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql as pg

revision = "0003"
down_revision = "0002"

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    # Keyed by the URL alone: it names no user, and goes when no user has the URL any more.
    op.create_table(
        "link_checks",
        sa.Column("url_key", sa.LargeBinary, primary_key=True),
        sa.Column("status", sa.SmallInteger, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("moved_to", sa.Text, nullable=False),
        sa.Column("checked_at", _TIME),
        sa.Column("changed_at", _TIME, nullable=False),
        sa.Column("seen_alive", sa.Boolean, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("failing_since", _TIME),
        sa.Column("absent_since", _TIME),
        sa.Column("next_at", _TIME, nullable=False),
        # How often it was asked for since the last answer.
        sa.Column("unanswered", sa.SmallInteger, nullable=False, server_default="0"),
        sa.Column("history", pg.JSONB, nullable=False),
        sa.CheckConstraint("octet_length(url_key) = 32", name="link_checks_url_key"),
        sa.CheckConstraint("status BETWEEN 0 AND 2", name="link_checks_status"),
    )
    op.create_index("link_checks_due", "link_checks", ["next_at"])
    op.add_column("links", sa.Column("status_reason", sa.Text, nullable=False, server_default=""))
    op.add_column("links", sa.Column("moved_to", sa.Text, nullable=False, server_default=""))
    # Across users: one verdict is for all who saved the URL.
    op.create_index("links_of_url", "links", ["url_key"])
    op.create_index(
        "links_unscheduled", "links", ["check_asked_at"], postgresql_where=sa.text("check_asked_at < 'infinity'")
    )
