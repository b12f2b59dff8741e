"""How many links of a user have which status and reason, kept and not counted; and indexes for what is to be mended.

A verdict changes links of thousands of users at once, a user's import thousands of links: with one row a count, one
would wait for the other, or both in a circle. So each statement that changes links writes down by how much it changes
counts, in rows of its own, and the sweep adds these up. The triggers do that, whatever code changes links: that of
before, which knows nothing of counts, too.

Expand: code of before writes and reads none of it. Nobody can write to links meanwhile; where there are many, build the
indexes before (docs/releases.md).
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_NOTE = """
CREATE FUNCTION note_links_{event}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO status_changes (user_id, status, reason, more)
    SELECT user_id, status, status_reason, sum(more) FROM ({changes}) AS changes
    GROUP BY user_id, status, status_reason HAVING sum(more) <> 0;
    RETURN NULL;
END $$"""
#: Of each event: what it brings, and what it takes away.
_EVENTS = {
    "insert": ("NEW TABLE AS new_links", "SELECT user_id, status, status_reason, 1 AS more FROM new_links"),
    "delete": ("OLD TABLE AS old_links", "SELECT user_id, status, status_reason, -1 AS more FROM old_links"),
    "update": (
        "OLD TABLE AS old_links NEW TABLE AS new_links",
        """SELECT user_id, status, status_reason, 1 AS more FROM new_links
        UNION ALL SELECT user_id, status, status_reason, -1 FROM old_links""",
    ),
}


def upgrade() -> None:
    op.create_table("status_counts", *_key(), sa.Column("count", sa.BigInteger, nullable=False))
    op.create_table(
        "status_changes",
        sa.Column("user_id", sa.BigInteger, primary_key=True),
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("status", sa.SmallInteger, nullable=False),
        sa.Column("reason", sa.Text(collation="C"), nullable=False),
        sa.Column("more", sa.BigInteger, nullable=False),
    )
    newest_first: list[str | sa.TextClause] = [sa.text("created_at DESC"), sa.text("id DESC")]
    # Of what is well there is plenty wherever one looks: what is not would be looked for through all links.
    op.create_index(
        "links_by_status",
        "links",
        ["user_id", "status", *newest_first],
        postgresql_where=sa.text("status <> 1"),
        if_not_exists=True,
    )
    op.create_index(
        "links_by_reason",
        "links",
        ["user_id", "status_reason", *newest_first],
        postgresql_where=sa.text("status_reason NOT IN ('', 'ok')"),
        if_not_exists=True,
    )
    for event, (tables, changes) in _EVENTS.items():
        op.execute(_NOTE.format(event=event, changes=changes))
        op.execute(
            f"CREATE TRIGGER note_{event} AFTER {event} ON links REFERENCING {tables}"
            f" FOR EACH STATEMENT EXECUTE FUNCTION note_links_{event}()"
        )
    # Nobody changes a link between the triggers and this: they hold the table until all of it is there.
    op.execute(
        "INSERT INTO status_counts (user_id, status, reason, count)"
        " SELECT user_id, status, status_reason, count(*) FROM links GROUP BY user_id, status, status_reason"
    )


def _key() -> list[sa.schema.SchemaItem]:
    return [
        sa.Column("user_id", sa.BigInteger, primary_key=True),
        sa.Column("status", sa.SmallInteger, primary_key=True),
        sa.Column("reason", sa.Text(collation="C"), primary_key=True),
    ]
