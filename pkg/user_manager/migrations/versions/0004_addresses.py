"""From where what the log of an account tells of was asked for.

Expand: code of before writes none, and its events have an empty one. The table is not rewritten.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("audit_events", sa.Column("address", sa.Text, nullable=False, server_default=""))
