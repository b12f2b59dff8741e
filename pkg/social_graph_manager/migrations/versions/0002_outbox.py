"""What is told of who follows whom."""

from pkg.events.outbox_table import create_outbox

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    create_outbox()
