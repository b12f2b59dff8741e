"""Links in Postgres.

What a user writes is put in order by the lock on their row of ``link_counts``, taken first by every change: counts
are exact without counting, and no two changes can wait for each other in a circle. Saving a link, the change that
people make all the time, is one statement. What is told of a change is a row of the outbox, written with it and under
the same lock, so that one user's events are in the order of their changes.
"""

import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from functools import cache
from itertools import batched
from typing import Any, Final, NamedTuple

import asyncpg

from pkg.events.messages import partition_of
from pkg.events.outbox import erase_events, insert_events, outbox_row
from pkg.link_manager.checks import Check, unknown
from pkg.link_manager.store import (
    ASK_AGAIN_AFTER,
    MAX_SHARED_DESCRIPTION,
    AnsweredBeforeError,
    Audience,
    Candidate,
    DueCheck,
    FoundLink,
    ImportNews,
    ImportOutcome,
    LinkQuery,
    LinkStore,
    Move,
    Once,
    idempotency_key_reused,
    link_exists,
    link_limit_reached,
    pause_after,
)
from pkg.link_manager.tags import tag_key
from pkg.link_manager.words import SCORES, index_words
from pkg.object_model import erasure
from pkg.object_model.errors import InvalidArgument, Unavailable
from pkg.object_model.events import LinkEvent
from pkg.object_model.types import (
    Link,
    LinkHistory,
    LinkReason,
    LinkStatus,
    SharedLink,
    StatusChange,
    StatusCount,
    TagCount,
    Visibility,
)
from pkg.runtime.postgres import database_errors, hold_alone

#: What stands in the tables for each, by place.
_VISIBILITIES: Final = (Visibility.PUBLIC, Visibility.FOLLOWERS, Visibility.PRIVATE)
_STATUSES: Final = (LinkStatus.PENDING, LinkStatus.VALID, LinkStatus.INVALID)
_VISIBILITY_NUMBERS: Final = {visibility: number for number, visibility in enumerate(_VISIBILITIES)}
_STATUS_NUMBERS: Final = {status: number for number, status in enumerate(_STATUSES)}
#: Written out, not passed: each then has an index of its own, and nobody's needs none. A table goes before the column.
_SEES: Final = {
    Audience.OWNER: "",
    Audience.FOLLOWER: "{}visibility <= 1",
    Audience.STRANGER: "{}visibility = 0",
    Audience.NOBODY: "false",
}
_COUNTED: Final = {
    Audience.OWNER: "public + followers + private",
    Audience.FOLLOWER: "public + followers",
    Audience.STRANGER: "public",
    Audience.NOBODY: "0",
}

#: Reasons of links that are well: there is no index for them.
_WELL: Final = ("", LinkReason.OK)

#: Links that one statement of an import writes.
_BATCH: Final = 500
#: Old answers that are removed when a new one is kept.
_ANSWERS_PRUNED: Final = 100

_NAMES: Final = (
    "id",
    "url",
    "title",
    "description",
    "status",
    "visibility",
    "tags",
    "version",
    "created_at",
    "updated_at",
)
#: What is known of the URL, as it is shown on the link. Who adds a link does not say it.
_SHOWN: Final = ("status_reason", "checked_at", "moved_to")
_ADDED: Final = ", ".join(_NAMES)
_COLUMNS: Final = ", ".join(_NAMES + _SHOWN)

# The descriptions of many links, and each may be long. Each user's part is read from one index of theirs.
_FIND_SHARED: Final = f"""
SELECT asked.user_id, shared.* FROM unnest($1::bigint[]) AS asked(user_id) CROSS JOIN LATERAL (
    SELECT {_COLUMNS.replace("description", f"left(description, {MAX_SHARED_DESCRIPTION}) AS description")} FROM links
    WHERE links.user_id = asked.user_id AND {_SEES[Audience.FOLLOWER].format("")} AND updated_at >= $3
    ORDER BY updated_at DESC, id DESC LIMIT $2
) AS shared"""

_LOCK: Final = """
INSERT INTO link_counts (user_id) VALUES ($1)
ON CONFLICT (user_id) DO UPDATE SET user_id = excluded.user_id
RETURNING public + followers + private"""

# What is there is looked for first: running into the index would leave dead rows behind, and an error in the log.
# The upsert of the version sees what was committed while it waited for the lock; a SELECT in its place would not.
# The event's body is JSON, in which the quotes of every text are escaped: what is replaced there is the field.
_ADD: Final = f"""
WITH present AS (
    SELECT 1 FROM links WHERE user_id = $1::bigint AND url_key = $12::bytea
), known AS (
    SELECT status, reason, checked_at, moved_to FROM link_checks WHERE url_key = $12
), counted AS (
    INSERT INTO link_counts AS c (user_id, public, followers, private)
    SELECT $1, ($7::int = 0)::int, ($7 = 1)::int, ($7 = 2)::int WHERE NOT EXISTS (SELECT FROM present)
    ON CONFLICT (user_id) DO UPDATE SET
        public = c.public + excluded.public,
        followers = c.followers + excluded.followers,
        private = c.private + excluded.private
    WHERE c.public + c.followers + c.private < $14
    RETURNING user_id
), versioned AS (
    INSERT INTO link_versions AS v (user_id, url_key, version)
    SELECT user_id, $12, 1 FROM counted
    ON CONFLICT (user_id, url_key) DO UPDATE SET version = v.version + 1
    RETURNING version
), added AS (
    INSERT INTO links (
        user_id, {_ADDED}, url_key, words, check_asked_at, status_reason, checked_at, moved_to
    )
    SELECT $1, $2::bigint, $3::text, $4::text, $5::text, coalesce(status, $6::int), $7, $8::text[], version,
        $9::timestamptz, $10::timestamptz, $12, $11::text::tsvector,
        CASE WHEN status IS NULL THEN $22::timestamptz ELSE 'infinity' END,
        coalesce(reason, ''), checked_at, coalesce(moved_to, '')
    FROM versioned LEFT JOIN known ON true
    RETURNING version, status, status_reason, checked_at, moved_to
), tagged AS (
    INSERT INTO link_tags (user_id, tag_key, created_at, link_id, visibility)
    SELECT $1, t.tag_key, $9, $2, $7 FROM added, unnest($13::text[]) AS t(tag_key)
), tags_counted AS (
    INSERT INTO tag_counts AS c (user_id, tag_key, tag, public, followers, private)
    SELECT $1, t.tag_key, t.tag, ($7 = 0)::int, ($7 = 1)::int, ($7 = 2)::int
    FROM added, unnest($13::text[], $8::text[]) AS t(tag_key, tag)
    ON CONFLICT (user_id, tag_key) DO UPDATE SET
        public = c.public + excluded.public,
        followers = c.followers + excluded.followers,
        private = c.private + excluded.private
), told AS (
    INSERT INTO outbox (partition, id, type, subject, body, traceparent, request_id, created_at)
    SELECT $15::smallint, $16::bigint, $17::text, $18::text,
        replace(
            replace($19::text, '"Version":0,', '"Version":' || version || ','),
            '"Status":"pending"', '"Status":"' || (ARRAY['pending', 'valid', 'invalid'])[status + 1] || '"'
        ),
        $20::text, $21::text, $22
    FROM added
)
SELECT added.*, EXISTS (SELECT FROM present) AS present FROM (SELECT 1) AS one LEFT JOIN added ON true"""

_ADD_MANY: Final = f"""
WITH given AS (
    SELECT * FROM unnest(
        $2::bigint[], $3::text[], $4::text[], $5::text[], $6::smallint[], $7::smallint[], $8::text[], $9::timestamptz[],
        $10::timestamptz[], $11::text[], $12::bytea[]
    ) AS g(id, url, title, description, status, visibility, tags, created_at, updated_at, words, url_key)
), versioned AS (
    INSERT INTO link_versions AS v (user_id, url_key, version)
    SELECT $1, url_key, 1 FROM given
    ON CONFLICT (user_id, url_key) DO UPDATE SET version = v.version + 1
    RETURNING url_key, version
)
INSERT INTO links (user_id, {_ADDED}, url_key, words, check_asked_at, status_reason, checked_at, moved_to)
SELECT $1, id, url, title, description, coalesce(k.status, given.status), visibility, string_to_array(tags, ','),
    version, created_at, updated_at, url_key, words::tsvector,
    CASE WHEN k.status IS NULL THEN $13::timestamptz ELSE 'infinity' END,
    coalesce(k.reason, ''), k.checked_at, coalesce(k.moved_to, '')
FROM given JOIN versioned USING (url_key) LEFT JOIN link_checks AS k USING (url_key)
RETURNING url_key, version, status, status_reason, checked_at, moved_to"""

_CHANGE_MANY: Final = """
UPDATE links AS l SET title = g.title, description = g.description, tags = string_to_array(g.tags, ','),
    visibility = g.visibility, version = g.version, updated_at = g.updated_at, words = g.words::tsvector
FROM unnest(
    $2::bigint[], $3::text[], $4::text[], $5::text[], $6::smallint[], $7::bigint[], $8::timestamptz[], $9::text[]
) AS g(id, title, description, tags, visibility, version, updated_at, words)
WHERE l.user_id = $1 AND l.id = g.id"""

_TAG_LINKS: Final = """
INSERT INTO link_tags (user_id, tag_key, created_at, link_id, visibility)
SELECT $1, * FROM unnest($2::text[], $3::timestamptz[], $4::bigint[], $5::smallint[])"""

_UNTAG_LINK: Final = """
DELETE FROM link_tags WHERE user_id = $1 AND tag_key = ANY($2::text[]) AND created_at = $3 AND link_id = $4"""

_COUNT_TAGS: Final = """
INSERT INTO tag_counts AS c (user_id, tag_key, tag, public, followers, private)
SELECT $1, * FROM unnest($2::text[], $3::text[], $4::int[], $5::int[], $6::int[])
ON CONFLICT (user_id, tag_key) DO UPDATE SET
    public = c.public + excluded.public,
    followers = c.followers + excluded.followers,
    private = c.private + excluded.private"""

_DISCOUNT_TAGS: Final = """
UPDATE tag_counts SET
    public = public - ($3 = 0)::int, followers = followers - ($3 = 1)::int, private = private - ($3 = 2)::int
WHERE user_id = $1 AND tag_key = ANY($2::text[])"""

_FORGET_UNUSED_TAGS: Final = """
DELETE FROM tag_counts WHERE user_id = $1 AND tag_key = ANY($2::text[]) AND public + followers + private = 0"""

_COUNT_LINKS: Final = """
UPDATE link_counts SET public = public + $2, followers = followers + $3, private = private + $4 WHERE user_id = $1"""

_FIND_ONE: Final = f"SELECT {_COLUMNS} FROM links WHERE user_id = $1 AND url_key = $2"
_FIND_MANY: Final = f"SELECT url_key, {_COLUMNS} FROM links WHERE user_id = $1 AND url_key = ANY($2::bytea[])"
_FIND_ONE_ASKED: Final = f"""
SELECT {_COLUMNS}, nullif(check_asked_at, 'infinity') AS asked_at FROM links WHERE user_id = $1 AND url_key = $2"""
_DELETE: Final = f"DELETE FROM links WHERE user_id = $1 AND url_key = $2 RETURNING {_COLUMNS}"
_KEEP_VERSION: Final = "UPDATE link_versions SET version = $3 WHERE user_id = $1 AND url_key = $2"

# Greater than $3, and than all that were given at this URL.
_NEXT_VERSION: Final = """
INSERT INTO link_versions AS v (user_id, url_key, version) VALUES ($1, $2, $3 + 1)
ON CONFLICT (user_id, url_key) DO UPDATE SET version = greatest(v.version, $3) + 1
RETURNING version"""
_MOVE: Final = f"""
UPDATE links SET url = $3, url_key = $4, status = coalesce(k.status, 0), status_reason = coalesce(k.reason, ''),
    checked_at = k.checked_at, moved_to = coalesce(k.moved_to, ''),
    check_asked_at = CASE WHEN k.status IS NULL THEN links.updated_at ELSE 'infinity' END
FROM (SELECT) AS one LEFT JOIN link_checks AS k ON k.url_key = $4
WHERE user_id = $1 AND id = $2
RETURNING {", ".join(f"links.{name}" for name in (*_NAMES, *_SHOWN))}"""

_CHECK_NAMES: Final = (
    "status",
    "reason",
    "moved_to",
    "checked_at",
    "changed_at",
    "seen_alive",
    "failures",
    "failing_since",
    "absent_since",
    "next_at",
    "history",
)
_CHECK_COLUMNS: Final = ", ".join(_CHECK_NAMES)
# On its own, before the row is locked: who adds rows for links that they have locked must not wait for who waits for
# those links.
# What links from before there were these rows say of the URL is where its row begins; who has no such link makes none.
_MAKE_CHECK: Final = f"""
INSERT INTO link_checks (url_key, {_CHECK_COLUMNS})
SELECT $1, status, '', '', NULL::timestamptz, $2, status = 1, 0, NULL::timestamptz, NULL::timestamptz, $2, '[]'::jsonb
FROM (SELECT CASE WHEN bool_or(status = 1) THEN 1 ELSE max(status) END AS status FROM links WHERE url_key = $1) AS l
WHERE status IS NOT NULL AND NOT EXISTS (SELECT FROM link_checks WHERE url_key = $1)
ON CONFLICT DO NOTHING"""
_LOCK_CHECK: Final = f"SELECT {_CHECK_COLUMNS}, unanswered FROM link_checks WHERE url_key = $1 FOR UPDATE"
_KEEP_CHECK: Final = f"""
UPDATE link_checks SET unanswered = 0, ({_CHECK_COLUMNS})
    = ({", ".join(f"${number}" for number in range(2, 2 + len(_CHECK_NAMES)))})
WHERE url_key = $1"""
_SHOW_CHECK: Final = """
UPDATE links SET status = $2, status_reason = $3, moved_to = $4, checked_at = $5, check_asked_at = 'infinity'
WHERE url_key = $1"""

#: Any number, the same in all processes of the link service; the database has no other use of it.
_SWEEP_LOCK: Final = 5_021_978
# What follows is about the links of all users; it has indexes of its own. A row that somebody is changing is left for
# the next time: who sweeps waits for nobody, so nobody is waited for in a circle.
_FIND_LATE: Final = """
SELECT user_id, id, url_key, status FROM links
WHERE check_asked_at < $1 AND check_asked_at < 'infinity' ORDER BY check_asked_at LIMIT $2
FOR UPDATE SKIP LOCKED"""
# What has a verdict already, from the time before there were these rows, is looked at some time in a month.
_SCHEDULE: Final = f"""
INSERT INTO link_checks (url_key, {_CHECK_COLUMNS})
SELECT DISTINCT ON (url_key) url_key, status, '', '', NULL::timestamptz, $3::timestamptz, status = 1, 0,
    NULL::timestamptz, NULL::timestamptz,
    $3 + CASE status WHEN 0 THEN interval '0' ELSE (get_byte(url_key, 0) / 256.0) * interval '30 days' END,
    '[]'::jsonb
FROM unnest($1::bytea[], $2::smallint[]) AS g(url_key, status) ORDER BY url_key
ON CONFLICT DO NOTHING"""
_SHOW_SCHEDULED: Final = """
UPDATE links SET check_asked_at = 'infinity', status = k.status, status_reason = k.reason, moved_to = k.moved_to,
    checked_at = coalesce(k.checked_at, links.checked_at)
FROM unnest($1::bigint[], $2::bigint[]) AS g(user_id, id), link_checks AS k
WHERE links.user_id = g.user_id AND links.id = g.id AND k.url_key = links.url_key"""
_FIND_DUE: Final = """
SELECT c.url_key, l.user_id FROM link_checks AS c
LEFT JOIN LATERAL (SELECT user_id FROM links WHERE url_key = c.url_key ORDER BY user_id LIMIT 1) AS l ON true
WHERE c.next_at <= $1 ORDER BY c.next_at, c.url_key LIMIT $2"""
_ASK: Final = """
WITH free AS (
    SELECT url_key FROM link_checks WHERE url_key = ANY($1::bytea[]) AND next_at <= $2 FOR UPDATE SKIP LOCKED
)
UPDATE link_checks SET unanswered = least(unanswered + 1, 1000),
    next_at = $2::timestamptz + ($3::interval[])[least(unanswered + 1, cardinality($3))]
FROM free WHERE link_checks.url_key = free.url_key
RETURNING link_checks.url_key"""
_ASK_ONE: Final = "UPDATE link_checks SET unanswered = 1, next_at = $2 WHERE url_key = $1"
_FORGET_CHECKS: Final = """
DELETE FROM link_checks AS c WHERE c.url_key = ANY($1::bytea[])
    AND NOT EXISTS (SELECT FROM links WHERE url_key = c.url_key)"""
_FIND_ASKED: Final = f"""
SELECT user_id, {_COLUMNS} FROM links JOIN unnest($1::bigint[], $2::bytea[]) AS g(user_id, url_key)
    USING (user_id, url_key)"""
#: By how often it was asked for in vain before.
_PAUSES: Final = tuple(map(pause_after, range(11)))

# What was added up, and what was changed since (see the migration that made these tables).
_COUNT_STATUSES: Final = """
SELECT status, reason, sum(count)::bigint AS count FROM (
    SELECT status, reason, count FROM status_counts WHERE user_id = $1
    UNION ALL SELECT status, reason, more FROM status_changes WHERE user_id = $1
) AS rows GROUP BY status, reason HAVING sum(count) > 0 ORDER BY status, reason"""
_ADD_UP_STATUSES: Final = """
WITH taken AS (
    DELETE FROM status_changes WHERE (user_id, id) IN (
        SELECT user_id, id FROM status_changes ORDER BY user_id, id LIMIT $1 FOR UPDATE SKIP LOCKED
    ) RETURNING user_id, status, reason, more
), kept AS (
    INSERT INTO status_counts AS c (user_id, status, reason, count)
    SELECT user_id, status, reason, sum(more) FROM taken
    GROUP BY user_id, status, reason HAVING sum(more) <> 0 ORDER BY user_id, status, reason
    ON CONFLICT (user_id, status, reason) DO UPDATE SET count = c.count + excluded.count
)
SELECT count(*) FROM taken"""
_FIND_HISTORY: Final = f"""
SELECT {", ".join(f"links.{name}" for name in (*_NAMES, *_SHOWN))}, history
FROM links LEFT JOIN link_checks USING (url_key) WHERE user_id = $1 AND url_key = $2"""

_RECALL: Final = "SELECT fingerprint, answer FROM answers WHERE user_id = $1 AND key = $2 AND created_at >= $3"
_KEEP_ANSWER: Final = """
INSERT INTO answers AS a (user_id, key, fingerprint, answer, created_at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (user_id, key) DO UPDATE
    SET fingerprint = excluded.fingerprint, answer = excluded.answer, created_at = excluded.created_at
    WHERE a.created_at < $6
RETURNING true"""
_PRUNE_ANSWERS: Final = """
DELETE FROM answers WHERE user_id = $1 AND key IN (
    SELECT key FROM answers WHERE user_id = $1 AND created_at < $2 ORDER BY created_at LIMIT $3
)"""

#: Rows that are removed of each table at once, of a user who leaves.
_ERASE_BATCH: Final = 1_000
_LOCK_IF_THERE: Final = "SELECT FROM link_counts WHERE user_id = $1 FOR UPDATE"
_ERASE: Final = tuple(
    f"DELETE FROM {table} WHERE user_id = $1 AND ({key}) IN (SELECT {key} FROM {table} WHERE user_id = $1 LIMIT $2)"
    for table, key in {
        "links": "id",
        "link_tags": "tag_key, created_at, link_id",
        "tag_counts": "tag_key",
        "answers": "key",
        # Removing links has written some; whoever adds them up meanwhile makes them counts.
        "status_changes": "id",
        "status_counts": "status, reason",
    }.items()
)
#: Of every URL that the user ever saved, so they go last.
_FIND_VERSIONS: Final = "SELECT url_key FROM link_versions WHERE user_id = $1 LIMIT $2"
_ERASE_VERSIONS: Final = "DELETE FROM link_versions WHERE user_id = $1 AND url_key = ANY($2::bytea[])"
_ERASE_COUNTS: Final = "DELETE FROM link_counts WHERE user_id = $1"

type _Connection = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy


class SqlLinkStore(LinkStore):
    """``wake`` gets the partition of a link that was just saved; other changes notify in their transactions."""

    def __init__(self, pool: asyncpg.Pool, wake: Callable[[int], None] = lambda _partition: None) -> None:
        self._pool = pool
        self._wake = wake

    # --- reading ------------------------------------------------------------------------------------------------------

    async def find_links(self, query: LinkQuery) -> list[FoundLink]:
        shape, values = _shape(query)
        with database_errors():
            try:
                rows = await self._pool.fetch(_find_statement(shape), query.user_id, *values, query.limit)
            except asyncpg.InvalidRegularExpressionError:
                # The bound that patterns have passed is an estimate of ours.
                raise InvalidArgument(
                    "a regular expression is too complex; simplify it", code="regex_too_complex"
                ) from None
        return [FoundLink(_read_link(row), row["score"] if query.words else 0) for row in rows]

    async def find_shared(self, user_ids: Sequence[int], limit: int, changed_after: datetime) -> list[SharedLink]:
        with database_errors():
            rows = await self._pool.fetch(_FIND_SHARED, list(user_ids), limit, changed_after)
        return [SharedLink(row["user_id"], _read_link(row)) for row in rows]

    async def read_oldest_first(
        self, user_id: int, audience: Audience, after: tuple[datetime, int] | None, limit: int
    ) -> list[Link]:
        with database_errors():
            rows = await self._pool.fetch(
                _export_statement(audience, after is not None), user_id, limit, *(after or ())
            )
        return [_read_link(row) for row in rows]

    async def find_tags(
        self, user_id: int, audience: Audience, prefix: str, after: str | None, limit: int
    ) -> list[tuple[str, TagCount]]:
        end = _next_prefix(prefix)
        with database_errors():
            rows = await self._pool.fetch(
                _tags_statement(audience, end is not None), user_id, limit, after or "", prefix, *([end] if end else [])
            )
        return [(row["tag_key"], TagCount(row["tag"], row["count"])) for row in rows]

    async def count_links(self, user_id: int, audience: Audience) -> int:
        with database_errors():
            count = await self._pool.fetchval(_count_statement(audience), user_id)
        return int(count or 0)

    async def count_statuses(self, user_id: int) -> list[StatusCount]:
        with database_errors():
            rows = await self._pool.fetch(_COUNT_STATUSES, user_id)
        return [StatusCount(_STATUSES[row["status"]], row["reason"], row["count"]) for row in rows]

    async def find_history(self, user_id: int, url_key: bytes) -> LinkHistory | None:
        with database_errors():
            row = await self._pool.fetchrow(_FIND_HISTORY, user_id, url_key)
        if row is None:
            return None
        return LinkHistory(_read_link(row), list(reversed(_read_history(row["history"] or "[]"))))

    # --- changing -----------------------------------------------------------------------------------------------------

    async def add_link(
        self, user_id: int, url_key: bytes, link: Link, max_links: int, event: LinkEvent, once: Once | None = None
    ) -> Link:
        keys = [tag_key(tag) for tag in link.tags]
        told = outbox_row(event)
        values = (*_link_values(link), _search_vector(link), url_key, keys, max_links, *told)
        with database_errors():
            try:
                if once is None:
                    added = _read_added(link, await self._pool.fetchrow(_ADD, user_id, *values), max_links)
                else:
                    added = await self._add_once(user_id, link, values, max_links, once)
            except asyncpg.UniqueViolationError as violation:
                if violation.constraint_name == "links_url":
                    raise link_exists() from None
                # Two ids of one millisecond are the same once in two million times.
                raise Unavailable("try again", code="try_again", retry_after=1) from None
        self._wake(partition_of(user_id))
        return added

    async def _add_once(self, user_id: int, link: Link, values: tuple[Any, ...], max_links: int, once: Once) -> Link:
        async with self._pool.acquire() as connection, connection.transaction():
            added = _read_added(link, await connection.fetchrow(_ADD, user_id, *values), max_links)
            await _keep_answer(connection, user_id, once, once.encode(added))
        return added

    async def change_link(
        self, user_id: int, url_key: bytes, change: Callable[[Link], Link], tell: Callable[[Link], LinkEvent]
    ) -> Link | None:
        with database_errors():
            async with self._pool.acquire() as connection, connection.transaction():
                await connection.execute(_LOCK, user_id)
                row = await connection.fetchrow(_FIND_ONE, user_id, url_key)
                if row is None:
                    return None
                link = _read_link(row)
                changed = change(link)
                if changed != link:
                    await _write_changes(connection, user_id, [(link, changed)])
                    await insert_events(connection, [tell(changed)])
                return changed

    async def delete_link(self, user_id: int, url_key: bytes, tell: Callable[[Link], LinkEvent]) -> bool:
        with database_errors():
            async with self._pool.acquire() as connection, connection.transaction():
                await connection.execute(_LOCK, user_id)
                deleted = await _delete(connection, user_id, url_key)
                if deleted is None:
                    return False
                await insert_events(connection, [tell(deleted)])
                return True

    async def move_link(self, user_id: int, url_key: bytes, move: Move, once: Once | None = None) -> Link | None:
        with database_errors():
            async with self._pool.acquire() as connection, connection.transaction():
                await connection.execute(_LOCK, user_id)
                row = await connection.fetchrow(_FIND_ONE, user_id, url_key)
                if row is None:
                    return None
                link = _read_link(row)
                place = move.find_place(link)
                other = None
                if place.key != url_key and (row := await connection.fetchrow(_FIND_ONE, user_id, place.key)):
                    other = _read_link(row)
                merged = move.merge(link, place, other)
                ended = other and await _delete(connection, user_id, place.key)
                version = await connection.fetchval(_NEXT_VERSION, user_id, place.key, link.version)
                if place.key != url_key:
                    await connection.execute(_KEEP_VERSION, user_id, url_key, link.version + 1)
                await _write_changes(connection, user_id, [(link, replace(merged, version=version))])
                row = await connection.fetchrow(_MOVE, user_id, link.id, place.text, place.key)
                assert row is not None  # noqa: S101  # the user's lock keeps it where it is
                moved = _read_link(row)
                await insert_events(connection, move.tell(moved, ended))
                if once is not None:
                    await _keep_answer(connection, user_id, once, once.encode(moved))
                return moved

    async def import_links(
        self,
        user_id: int,
        candidates: Sequence[Candidate],
        max_links: int,
        merge: Callable[[Link, Link], Link],
        news: ImportNews,
        once: Once | None = None,
    ) -> list[ImportOutcome]:
        outcomes: list[ImportOutcome] = []
        with database_errors():
            async with self._pool.acquire() as connection, connection.transaction():
                room = max_links - await connection.fetchval(_LOCK, user_id)
                for batch in batched(candidates, _BATCH):
                    done = await _import_batch(connection, user_id, batch, room, merge, news)
                    room -= done.count(ImportOutcome.IMPORTED)
                    outcomes += done
                if summary := news.of_all(outcomes):
                    await insert_events(connection, [summary])
                if once is not None:
                    await _keep_answer(connection, user_id, once, once.encode(outcomes))
        return outcomes

    # --- checks -------------------------------------------------------------------------------------------------------

    async def keep_check(self, url_key: bytes, at: datetime, weigh: Callable[[Check], Check | None]) -> bool:
        with database_errors():
            await self._pool.execute(_MAKE_CHECK, url_key, at)
            async with self._pool.acquire() as connection, connection.transaction():
                row = await connection.fetchrow(_LOCK_CHECK, url_key)
                check = row and weigh(_read_check(row))
                if not check:
                    return False
                await connection.execute(_KEEP_CHECK, url_key, *_check_values(check))
                shown = (_STATUS_NUMBERS[check.status], check.reason, check.moved_to, check.checked_at)
                return bool(await connection.execute(_SHOW_CHECK, url_key, *shown) != "UPDATE 0")

    @asynccontextmanager
    async def sweep_alone(self) -> AsyncIterator[bool]:
        with database_errors():
            async with hold_alone(self._pool, _SWEEP_LOCK) as alone:
                yield alone

    async def schedule_late(self, asked_before: datetime, now: datetime, limit: int) -> int:
        with database_errors():
            async with self._pool.acquire() as connection, connection.transaction():
                rows = await connection.fetch(_FIND_LATE, asked_before, limit)
                if rows:
                    user_ids, link_ids, url_keys, statuses = _columns([tuple(row) for row in rows])
                    await connection.execute(_SCHEDULE, url_keys, statuses, now)
                    await connection.execute(_SHOW_SCHEDULED, user_ids, link_ids)
        return len(rows)

    async def find_due(self, now: datetime, limit: int) -> list[DueCheck]:
        with database_errors():
            rows = await self._pool.fetch(_FIND_DUE, now, limit)
        return [DueCheck(*row) for row in rows]

    async def ask_for_one(
        self,
        user_id: int,
        url_key: bytes,
        now: datetime,
        wanted: Callable[[Check, datetime | None], bool],
        tell: Callable[[Link], LinkEvent],
    ) -> Link | None:
        with database_errors():
            async with self._pool.acquire() as connection, connection.transaction():
                row = await connection.fetchrow(_FIND_ONE_ASKED, user_id, url_key)
                if row is None:
                    return None
                link = _read_link(row)
                known = await connection.fetchrow(_LOCK_CHECK, url_key)
                if known is None and wanted(unknown(now), row["asked_at"]):
                    # Who comes at the same time finds the row, and what it says of us.
                    await connection.execute(_MAKE_CHECK, url_key, now)
                    known = await connection.fetchrow(_LOCK_CHECK, url_key)
                if known is None:
                    return link
                check, times = _read_check(known), known["unanswered"]
                if wanted(check, check.next_at - pause_after(times - 1) if times else None):
                    await connection.execute(_ASK_ONE, url_key, now + ASK_AGAIN_AFTER)
                    await insert_events(connection, [tell(link)])
                return link

    async def ask_for(
        self, due: Sequence[DueCheck], now: datetime, tell: Callable[[int, Link], LinkEvent | None]
    ) -> int:
        if not due:
            return 0
        with database_errors():
            async with self._pool.acquire() as connection, connection.transaction():
                rows = await connection.fetch(_ASK, [check.url_key for check in due], now, list(_PAUSES))
                asked = {row["url_key"] for row in rows}
                await connection.execute(_FORGET_CHECKS, list(asked))
                owned = [(user_id, key) for key, user_id in due if user_id is not None and key in asked]
                links = await connection.fetch(_FIND_ASKED, *_columns(owned)) if owned else []
                told = [event for row in links if (event := tell(row["user_id"], _read_link(row)))]
                await insert_events(connection, told)
        return len(told)

    async def add_up_statuses(self, limit: int) -> int:
        with database_errors():
            return int(await self._pool.fetchval(_ADD_UP_STATUSES, limit))

    async def recall_answer(self, user_id: int, once: Once) -> str | None:
        with database_errors():
            row = await self._pool.fetchrow(_RECALL, user_id, once.key, once.not_before)
        if row is None:
            return None
        if row["fingerprint"] != once.fingerprint:
            raise idempotency_key_reused()
        return str(row["answer"])

    # --- leaving ------------------------------------------------------------------------------------------------------

    async def erase_user(self, user_id: int, after: erasure.Place) -> erasure.Place | None:
        with database_errors():
            async with self._pool.acquire() as connection:
                if await _erase_rows(connection, user_id) or await _forget_urls(connection, user_id):
                    return after
                partition = partition_of(user_id)
                async with connection.transaction():
                    await connection.execute(_ERASE_COUNTS, user_id)
                    return await erase_events(connection, ("UserId",), user_id, range(partition, partition + 1), after)


async def _erase_rows(connection: _Connection, user_id: int) -> bool:
    """Whether there were any. Of each table some."""
    async with connection.transaction():
        await connection.execute(_LOCK_IF_THERE, user_id)
        removed = [await connection.execute(statement, user_id, _ERASE_BATCH) for statement in _ERASE]
    return any(status != "DELETE 0" for status in removed)


async def _forget_urls(connection: _Connection, user_id: int) -> bool:
    """Whether there were any. What is known of a URL goes with the last who had it.

    In no transaction: who keeps a verdict locks what is known of the URL, and then links.
    """
    url_keys = [url_key for (url_key,) in await connection.fetch(_FIND_VERSIONS, user_id, _ERASE_BATCH)]
    if url_keys:
        await connection.execute(_FORGET_CHECKS, url_keys)
        await connection.execute(_ERASE_VERSIONS, user_id, url_keys)
    return bool(url_keys)


# --- writing, inside a transaction that holds the user's lock ---------------------------------------------------------


async def _delete(connection: _Connection, user_id: int, url_key: bytes) -> Link | None:
    """The link as it was, with the version that its end takes; None if there was none."""
    row = await connection.fetchrow(_DELETE, user_id, url_key)
    if row is None:
        return None
    link = _read_link(row)
    await connection.execute(_KEEP_VERSION, user_id, url_key, link.version + 1)
    await _untag(connection, user_id, link, link.tags)
    await _count(connection, user_id, {link.visibility: -1})
    return replace(link, version=link.version + 1)


async def _import_batch(
    connection: _Connection,
    user_id: int,
    batch: Sequence[Candidate],
    room: int,
    merge: Callable[[Link, Link], Link],
    news: ImportNews,
) -> list[ImportOutcome]:
    rows = await connection.fetch(_FIND_MANY, user_id, [candidate.url_key for candidate in batch])
    saved = {row["url_key"]: _read_link(row) for row in rows}
    outcomes = []
    added: list[Candidate] = []
    changes: list[tuple[Link, Link]] = []
    changed: dict[bytes, Link] = {}
    for candidate in batch:
        present = saved.get(candidate.url_key)
        if present is None:
            if len(added) < room:
                added.append(candidate)
                outcomes.append(ImportOutcome.IMPORTED)
            else:
                outcomes.append(ImportOutcome.LIMIT_REACHED)
        elif (merged := merge(present, candidate.link)) != present:
            changes.append((present, merged))
            changed[candidate.url_key] = merged
            outcomes.append(ImportOutcome.MERGED)
        else:
            outcomes.append(ImportOutcome.UNCHANGED)
    if added:
        changed |= await _add_links(connection, user_id, added, news.now)
    if changes:
        await _write_changes(connection, user_id, changes)
    told = [
        news.of_link(outcome, changed[candidate.url_key])
        for candidate, outcome in zip(batch, outcomes, strict=True)
        if candidate.url_key in changed
    ]
    await insert_events(connection, told)
    return outcomes


async def _add_links(
    connection: _Connection, user_id: int, added: Sequence[Candidate], now: datetime
) -> dict[bytes, Link]:
    """The links by key of their URL, as they were added."""
    links = [candidate.link for candidate in added]
    rows = [
        (*values[:6], ",".join(values[6]), *values[7:], _search_vector(candidate.link), candidate.url_key)
        for candidate in added
        for values in (_link_values(candidate.link),)
    ]
    added_rows = {row["url_key"]: row for row in await connection.fetch(_ADD_MANY, user_id, *_columns(rows), now)}
    await _tag(connection, user_id, [(link, link.tags) for link in links])
    await _count(connection, user_id, Counter(link.visibility for link in links))
    return {candidate.url_key: _as_added(candidate.link, added_rows[candidate.url_key]) for candidate in added}


async def _write_changes(connection: _Connection, user_id: int, changes: Sequence[tuple[Link, Link]]) -> None:
    """Pairs of a link as it was and as it shall be."""
    rows = [
        (
            link.id,
            link.title,
            link.description,
            ",".join(link.tags),
            _VISIBILITY_NUMBERS[link.visibility],
            link.version,
            link.updated_at,
            _search_vector(link),
        )
        for _, link in changes
    ]
    await connection.execute(_CHANGE_MANY, user_id, *_columns(rows))
    tagged: list[tuple[Link, Iterable[str]]] = []
    for before, after in changes:
        gone, more = _tag_changes(before, after)
        if gone:
            await _untag(connection, user_id, before, gone)
        if more:
            tagged.append((after, more))
    await _tag(connection, user_id, tagged)
    moved: Counter[Visibility] = Counter()
    moved.update(after.visibility for _, after in changes)
    moved.subtract(before.visibility for before, _ in changes)
    await _count(connection, user_id, moved)


def _tag_changes(before: Link, after: Link) -> tuple[list[str], list[str]]:
    """Tags to take off and to put on. Who may see a link is kept with each of its tags."""
    if before.visibility is not after.visibility:
        return list(before.tags), list(after.tags)
    old, new = ({tag_key(tag): tag for tag in link.tags} for link in (before, after))
    return (
        [tag for key, tag in old.items() if key not in new],
        [tag for key, tag in new.items() if key not in old],
    )


async def _tag(connection: _Connection, user_id: int, tagged: Sequence[tuple[Link, Iterable[str]]]) -> None:
    rows: list[tuple[str, datetime, int, int]] = []
    counts: dict[str, tuple[str, list[int]]] = {}
    for link, tags in tagged:
        visibility = _VISIBILITY_NUMBERS[link.visibility]
        for tag in tags:
            key = tag_key(tag)
            rows.append((key, link.created_at, link.id, visibility))
            counts.setdefault(key, (tag, [0, 0, 0]))[1][visibility] += 1
    if rows:
        await connection.execute(_TAG_LINKS, user_id, *_columns(rows))
        counted = [(key, tag, *numbers) for key, (tag, numbers) in counts.items()]
        await connection.execute(_COUNT_TAGS, user_id, *_columns(counted))


async def _untag(connection: _Connection, user_id: int, link: Link, tags: Iterable[str]) -> None:
    """Takes tags off a link, which is given as it was when it had them."""
    keys = [tag_key(tag) for tag in tags]
    if keys:
        await connection.execute(_UNTAG_LINK, user_id, keys, link.created_at, link.id)
        await connection.execute(_DISCOUNT_TAGS, user_id, keys, _VISIBILITY_NUMBERS[link.visibility])
        await connection.execute(_FORGET_UNUSED_TAGS, user_id, keys)


async def _count(connection: _Connection, user_id: int, more: dict[Visibility, int]) -> None:
    if any(more.values()):
        await connection.execute(_COUNT_LINKS, user_id, *(more.get(visibility, 0) for visibility in _VISIBILITIES))


async def _keep_answer(connection: _Connection, user_id: int, once: Once, answer: str) -> None:
    await connection.execute(_PRUNE_ANSWERS, user_id, once.not_before, _ANSWERS_PRUNED)
    kept = await connection.fetchval(
        _KEEP_ANSWER, user_id, once.key, once.fingerprint, answer, once.now, once.not_before
    )
    if kept is None:
        raise AnsweredBeforeError


# --- statements, each written once for each form of a question --------------------------------------------------------


class _Shape(NamedTuple):
    """What a statement depends on; values do not count."""

    audience: Audience
    tagged: bool
    words: bool
    after: bool
    #: Columns that are compared with ``=``, and those that are matched with a regular expression.
    equal: tuple[str, ...]
    matched: tuple[str, ...]
    #: Conditions written out, by which the planner knows that an index for a part of the links will do.
    written: tuple[str, ...]


def _shape(query: LinkQuery) -> tuple[_Shape, list[Any]]:
    """The form of the question, and its values in the order in which ``_find_statement`` numbers them."""
    equal: dict[str, int | str] = {}
    if query.visibility is not None:
        equal["visibility"] = _VISIBILITY_NUMBERS[query.visibility]
    written = []
    if query.status is not None:
        written.append(f"l.status = {_STATUS_NUMBERS[query.status]}")
    if query.status_reason is not None:
        equal["status_reason"] = query.status_reason
        if query.status_reason not in _WELL:
            written.append("l.status_reason NOT IN ('', 'ok')")
    filters = {"url": query.url, "title": query.title, "description": query.description}
    matched = {column: regex.postgres for column, regex in filters.items() if regex is not None}
    values: list[Any] = []
    if query.words:
        values += [" & ".join(f"'{word}':*" for word in query.words), list(query.words)]
    if query.tag_key is not None:
        values.append(query.tag_key)
    values += [*equal.values(), *matched.values()]
    if query.after is not None:
        values += query.after if query.words else query.after[1:]
    shape = _Shape(
        query.audience,
        query.tag_key is not None,
        bool(query.words),
        query.after is not None,
        tuple(equal),
        tuple(matched),
        tuple(written),
    )
    return shape, values


@cache
def _find_statement(shape: _Shape) -> str:
    numbers = iter(range(2, 100))
    # In a list by tag the tag's rows are walked, newest first; in others the links' own.
    order = ("t.created_at", "t.link_id") if shape.tagged and not shape.words else ("l.created_at", "l.id")
    place = ", ".join(("score", *order) if shape.words else order)
    source, columns = "links AS l", ", ".join(f"l.{name}" for name in _NAMES + _SHOWN)
    where = ["l.user_id = $1"]
    if shape.words:
        where.append(f"l.words @@ ${next(numbers)}::text::tsquery")
        source += f"\nCROSS JOIN LATERAL ({_score(next(numbers))}) AS s(score)"
        columns += ", s.score"
    if shape.tagged:
        source += "\nJOIN link_tags AS t ON t.user_id = l.user_id AND t.created_at = l.created_at AND t.link_id = l.id"
        where += ["t.user_id = $1", f"t.tag_key = ${next(numbers)}"]
    if sees := _SEES[shape.audience]:
        where += [sees.format(table) for table in (("l.", "t.") if shape.tagged else ("l.",))]
    where += shape.written
    where += [f"l.{column} = ${next(numbers)}" for column in shape.equal]
    where += [f"l.{column} ~ ${next(numbers)}" for column in shape.matched]
    if shape.after:
        parts = ", ".join(f"${next(numbers)}" for _ in place.split(", "))
        where.append(f"({place}) < ({parts})")
    descending = ", ".join(f"{part} DESC" for part in place.split(", "))
    return (
        f"SELECT {columns}\nFROM {source}\nWHERE {' AND '.join(where)}\nORDER BY {descending}\nLIMIT ${next(numbers)}"
    )


def _score(number: int) -> str:
    """As ``pkg.link_manager.words.score`` adds it up."""
    cases = " ".join(
        f"WHEN l.words @@ ('''' || word || ''':*{weight}')::tsquery THEN {points}" for weight, points in SCORES.items()
    )
    return f"SELECT sum(CASE {cases} ELSE 0 END) FROM unnest(${number}::text[]) AS word"


@cache
def _export_statement(audience: Audience, after: bool) -> str:
    where = [
        "user_id = $1",
        *filter(None, [_SEES[audience].format("")]),
        *(["(created_at, id) > ($3, $4)"] if after else []),
    ]
    return f"SELECT {_COLUMNS} FROM links WHERE {' AND '.join(where)} ORDER BY created_at, id LIMIT $2"


@cache
def _tags_statement(audience: Audience, ends: bool) -> str:
    counted = _COUNTED[audience]
    end = " AND tag_key < $5" if ends else ""
    return (
        f"SELECT tag_key, tag, {counted} AS count FROM tag_counts\n"
        f"WHERE user_id = $1 AND {counted} > 0 AND tag_key > $3 AND tag_key >= $4{end}\n"
        "ORDER BY tag_key LIMIT $2"
    )


@cache
def _count_statement(audience: Audience) -> str:
    return f"SELECT {_COUNTED[audience]} FROM link_counts WHERE user_id = $1"


# --- rows and values --------------------------------------------------------------------------------------------------


def _link_values(link: Link) -> tuple[Any, ...]:
    """In the order of ``_NAMES``, without the version."""
    return (
        link.id,
        link.url,
        link.title,
        link.description,
        _STATUS_NUMBERS[link.status],
        _VISIBILITY_NUMBERS[link.visibility],
        list(link.tags),
        link.created_at,
        link.updated_at,
    )


def _read_added(link: Link, row: asyncpg.Record | None, max_links: int) -> Link:
    """The link as it was added. Raises Conflict if it was not."""
    assert row is not None  # noqa: S101  # a LEFT JOIN with one row on its left has one
    if row["version"] is None:
        raise link_exists() if row["present"] else link_limit_reached(max_links)
    return _as_added(link, row)


def _as_added(link: Link, row: asyncpg.Record) -> Link:
    return replace(
        link,
        version=row["version"],
        status=_STATUSES[row["status"]],
        status_reason=row["status_reason"],
        checked_at=row["checked_at"],
        moved_to=row["moved_to"],
    )


def _check_values(check: Check) -> tuple[Any, ...]:
    """In the order of ``_CHECK_NAMES``."""
    history = [(change.at.isoformat(), change.status, change.reason) for change in check.history]
    return (
        _STATUS_NUMBERS[check.status],
        check.reason,
        check.moved_to,
        check.checked_at,
        check.changed_at,
        check.seen_alive,
        check.failures,
        check.failing_since,
        check.absent_since,
        check.next_at,
        json.dumps(history),
    )


def _read_check(row: asyncpg.Record) -> Check:
    values = {name: row[name] for name in _CHECK_NAMES}
    values["status"] = _STATUSES[values["status"]]
    values["history"] = _read_history(values["history"])
    return Check(**values)


def _read_history(text: str) -> tuple[StatusChange, ...]:
    return tuple(
        StatusChange(datetime.fromisoformat(at), LinkStatus(status), reason) for at, status, reason in json.loads(text)
    )


def _read_link(row: asyncpg.Record) -> Link:
    return Link(
        id=row["id"],
        url=row["url"],
        title=row["title"],
        description=row["description"],
        status=_STATUSES[row["status"]],
        tags=tuple(row["tags"]),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        visibility=_VISIBILITIES[row["visibility"]],
        version=row["version"],
        status_reason=row["status_reason"],
        checked_at=row["checked_at"],
        moved_to=row["moved_to"],
    )


def _search_vector(link: Link) -> str:
    """The link's words as the text form of a tsvector. A place of a word is nothing but a carrier of its weight."""
    return " ".join(
        f"'{word}':" + ",".join(f"{place}{weight}" for place, weight in enumerate(weights, 1))
        for word, weights in index_words(link).items()
    )


def _columns(rows: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _next_prefix(prefix: str) -> str | None:
    """The first text, by code point, that is behind all that begin with ``prefix``; None if there is none."""
    while prefix:
        last = ord(prefix[-1]) + 1
        if last <= 0x10FFFF:
            # Surrogates are no characters.
            return prefix[:-1] + chr(0xE000 if 0xD800 <= last <= 0xDFFF else last)
        prefix = prefix[:-1]
    return None
