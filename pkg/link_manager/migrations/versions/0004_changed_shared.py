"""What followers may see of a user, by its last change: a feed that was lost is made of it.

Expand: code of before does not use it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_index(
        "links_changed_shared",
        "links",
        ["user_id", sa.text("updated_at DESC"), sa.text("id DESC")],
        postgresql_where=sa.text("visibility <= 1"),
    )
