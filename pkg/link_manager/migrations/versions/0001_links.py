"""Links with their tags, counts that are kept and not counted, and answers for repeated requests.

Every key begins with ``user_id``: no query crosses users, and the tables can be distributed by it.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql as pg

revision = "0001"
down_revision = None

_TIME = sa.DateTime(timezone=True)
#: Public 0, followers 1, private 2.
_SHARED = "visibility <= 1"
_PUBLIC = "visibility = 0"


def upgrade() -> None:
    # Lets one index hold a user and the words of that user's links.
    op.execute("CREATE EXTENSION IF NOT EXISTS btree_gin")
    op.create_table(
        "links",
        sa.Column("user_id", sa.BigInteger, primary_key=True),
        sa.Column("id", sa.BigInteger, primary_key=True),
        sa.Column("url_key", sa.LargeBinary, nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("status", sa.SmallInteger, nullable=False),
        sa.Column("visibility", sa.SmallInteger, nullable=False),
        sa.Column("tags", pg.ARRAY(sa.Text), nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
        sa.Column("words", pg.TSVECTOR, nullable=False),
        sa.UniqueConstraint("user_id", "url_key", name="links_url"),
        sa.CheckConstraint("octet_length(url_key) = 32", name="links_url_key"),
        sa.CheckConstraint("visibility BETWEEN 0 AND 2", name="links_visibility"),
        sa.CheckConstraint("status BETWEEN 0 AND 2", name="links_status"),
        sa.CheckConstraint("version > 0", name="links_version"),
        sa.CheckConstraint("cardinality(tags) <= 100", name="links_tags"),
    )
    # One for each audience, so that a page costs the same however much of the list others may not see.
    newest_first: list[str | sa.TextClause] = ["user_id", sa.text("created_at DESC"), sa.text("id DESC")]
    op.create_index("links_newest", "links", newest_first)
    op.create_index("links_newest_shared", "links", newest_first, postgresql_where=sa.text(_SHARED))
    op.create_index("links_newest_public", "links", newest_first, postgresql_where=sa.text(_PUBLIC))
    op.create_index("links_words", "links", ["user_id", "words"], postgresql_using="gin")

    op.create_table(
        "link_tags",
        sa.Column("user_id", sa.BigInteger, primary_key=True),
        # By code point, in every database and in Python alike.
        sa.Column("tag_key", sa.Text(collation="C"), primary_key=True),
        sa.Column("created_at", _TIME, primary_key=True),
        sa.Column("link_id", sa.BigInteger, primary_key=True),
        sa.Column("visibility", sa.SmallInteger, nullable=False),
    )
    tagged = ["user_id", "tag_key", "created_at", "link_id"]
    op.create_index("link_tags_shared", "link_tags", tagged, postgresql_where=sa.text(_SHARED))
    op.create_index("link_tags_public", "link_tags", tagged, postgresql_where=sa.text(_PUBLIC))

    op.create_table(
        "tag_counts",
        sa.Column("user_id", sa.BigInteger, primary_key=True),
        sa.Column("tag_key", sa.Text(collation="C"), primary_key=True),
        sa.Column("tag", sa.Text, nullable=False),
        *_counts("tag_counts"),
    )
    for name, where in (("shared", "public + followers > 0"), ("public", "public > 0")):
        op.create_index(f"tag_counts_{name}", "tag_counts", ["user_id", "tag_key"], postgresql_where=sa.text(where))

    # Its row is what a user's writes are put in order by.
    op.create_table("link_counts", sa.Column("user_id", sa.BigInteger, primary_key=True), *_counts("link_counts"))

    # Of every link that was ever saved, up to date once it is deleted: a version is never given twice.
    op.create_table(
        "link_versions",
        sa.Column("user_id", sa.BigInteger, primary_key=True),
        sa.Column("url_key", sa.LargeBinary, primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False),
    )

    op.create_table(
        "answers",
        sa.Column("user_id", sa.BigInteger, primary_key=True),
        sa.Column("key", sa.LargeBinary, primary_key=True),
        sa.Column("fingerprint", sa.LargeBinary, nullable=False),
        sa.Column("answer", sa.Text, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
    )
    op.create_index("answers_age", "answers", ["user_id", "created_at"])


def _counts(table: str) -> list[sa.schema.SchemaItem]:
    """By visibility."""
    names = ("public", "followers", "private")
    columns = [sa.Column(name, sa.Integer, nullable=False, server_default="0") for name in names]
    checks = [sa.CheckConstraint(f"{name} >= 0", name=f"{table}_{name}") for name in names]
    return [*columns, *checks]
