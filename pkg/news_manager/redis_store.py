"""News in Valkey, or anything else that speaks Redis's protocol (see docs/adr/012).

Keys are in ``redis_keys``, what happens in one step in ``redis_scripts``.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import batched
from typing import Any, Final

from redis.asyncio import Connection, Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from pkg.news_manager.entry_ids import GROUPS, group_of_entry, group_of_user
from pkg.news_manager.redis_keys import (
    READERS,
    WRITTEN,
    count_key,
    counts_key,
    entry_key,
    entry_prefix,
    feed_key,
    follow_key,
    gone_key,
    left_key,
    link_key,
    newest_key,
    progress_key,
    reader_key,
    reader_prefix,
    since_key,
    timeline_key,
    untold_key,
)
from pkg.news_manager.redis_scripts import (
    ABANDON,
    ANNOUNCE,
    BEGIN,
    CHANGE,
    DROP,
    FILL,
    FIND_OR_SAVE,
    FINISH,
    JOIN,
    MERGE,
    NOTE,
    OPEN,
    OPEN_TIMELINE,
    PUSH,
    READ_BEFORE,
    READ_BEHIND,
    SET_FOLLOWING,
    SET_GONE,
    SINCE,
    TAKE,
)
from pkg.news_manager.store import (
    BUILDING,
    DOUBT,
    FOLLOW_MEMORY,
    GONE_MEMORY,
    LEAVING,
    LIFETIME,
    MAX_FEED_LENGTH,
    Beginning,
    Change,
    Entry,
    EntryJson,
    FeedNotBuiltError,
    FollowOrder,
    LinkEnd,
    NewsStore,
    Share,
    Stretch,
    Timeline,
)
from pkg.object_model import erasure
from pkg.object_model.errors import Unavailable
from pkg.object_model.wire import news_event_from_wire, news_event_to_wire
from pkg.runtime.json import decode, encode
from pkg.runtime.redis import Call, Command, Script, ask, ask_all
from pkg.runtime.redis_sentinels import may_be_used

#: Feeds that one script changes: while it runs, nobody else is served.
FEEDS_AT_ONCE: Final = 500
#: Entries that one script puts into feeds, all feeds together, likewise.
PUSHES_AT_ONCE: Final = 10_000
#: Entries that one script changes, likewise.
CHANGES_AT_ONCE: Final = 100
#: Authors of whom one script puts entries into a feed, likewise.
SHARES_AT_ONCE: Final = 50
#: Timelines that one script looks at, likewise.
TIMELINES_AT_ONCE: Final = 50
#: Of a timeline, the ids that readers are told in their own place. Who has more to take asks for them.
NEWEST_TOLD: Final = 16

#: Connections that readers keep for each other, half of the pool's: to take one of it is a fifth of what a page costs.
_MAX_KEPT: Final = 16
#: Seconds, for all that one call asks.
_CALL_TIMEOUT: Final = 3.0
#: Milliseconds, for replicas to have what was written.
_COPY_TIMEOUT: Final = 1_000
#: Ids that a reader asks for when the first ones were not enough.
_READ_ON: Final = 100
#: Keys that one look at all of them goes through, and the looks of one call.
_SCAN_COUNT: Final = 1_000
_SCANS_AT_ONCE: Final = 10
#: No place among followers is called that.
_ALL_TOLD: Final = b"*"
#: What the script says of a change.
_HOLDS, _DOUBTFUL = 1, 2
#: The steps of erasing a user.
_BY_NAME, _IN_GROUP, _AS_AUTHOR, _IN_READERS = range(4)
#: Keys that name a user and something else.
_OF_PAIRS: Final = (b"news:link:", b"news:follow:", b"news:progress:")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_MILLISECOND: Final = timedelta(milliseconds=1)


#: Of the scripts that readers run, by digest.
_SOURCES: Final = {script.sha: script.source for script in (OPEN, READ_BEHIND, READ_BEFORE, SINCE, TAKE)}


class RedisNewsStore(NewsStore):
    def __init__(
        self,
        redis: Redis,
        *,
        max_length: int = MAX_FEED_LENGTH,
        lifetime: timedelta = LIFETIME,
        replicas: int = 0,
    ) -> None:
        """``max_length`` is of timelines as well: they need to hold what a feed can take.

        ``replicas`` have what is written before any method returns that writes; so no failover loses it.
        """
        self._redis = redis
        self._replicas = replicas
        #: Waits for all that was written before, by this call or an earlier one that was not heard out: on the same
        #: connection, and so to the same server, and after something new, which they cannot have yet.
        self._copying: Sequence[Command] = (
            [("SET", WRITTEN, "", "PX", _COPY_TIMEOUT), ("WAIT", replicas, _COPY_TIMEOUT)] if replicas else []
        )
        self._max_length = max_length
        self._lifetime = lifetime // _MILLISECOND
        #: Connections that are the pool's, and stay taken for the next reader.
        self._kept: list[Connection] = []

    async def check(self) -> None:
        """Raises Unavailable."""
        async with store_errors():
            await ask(self._redis, "PING")

    # --- entries ------------------------------------------------------------------------------------------------------

    async def change_entries(
        self, changes: Sequence[Entry | LinkEnd], now: datetime, *, certain: bool = False
    ) -> list[Change]:
        by_group: defaultdict[int, list[int]] = defaultdict(list)
        for place, change in enumerate(changes):
            by_group[group_of_user(change.author_id)].append(place)
        batches = [(group, some) for group, places in by_group.items() for some in batched(places, CHANGES_AT_ONCE)]
        times = _milliseconds(now), "" if certain else DOUBT // _MILLISECOND
        calls = [self._change_call(group, [changes[place] for place in places], times) for group, places in batches]
        told: dict[int, Change] = {}
        for (_, places), reply in zip(batches, await self._run_all(CHANGE, calls), strict=True):
            for place, (holds, ended) in zip(places, batched(reply, 2), strict=True):
                told[place] = Change(holds == _HOLDS, int(ended) if ended else None, holds == _DOUBTFUL)
        return [told[place] for place in range(len(changes))]

    def _change_call(self, group: int, changes: Sequence[Entry | LinkEnd], times: tuple[int, int | str]) -> Call:
        keys = [since_key(group), *(link_key(change.author_id, change.link_id) for change in changes)]
        arguments: list[Any] = [self._lifetime, entry_prefix(group), gone_key(group), *times]
        for change in changes:
            if isinstance(change, LinkEnd):
                arguments += [2 * change.version, "", "", ""]
            else:
                rank = 2 * change.event.version if change.link_id else ""
                arguments += [rank, change.id, _milliseconds(change.event.timestamp), _write_entry(change)]
        return keys, arguments

    async def find_or_save_entries(self, entries: Sequence[Entry]) -> list[int | None]:
        by_group: defaultdict[int, list[int]] = defaultdict(list)
        for place, entry in enumerate(entries):
            by_group[group_of_user(entry.author_id)].append(place)
        batches = [(group, some) for group, places in by_group.items() for some in batched(places, CHANGES_AT_ONCE)]
        calls = [self._find_or_save_call(group, [entries[place] for place in places]) for group, places in batches]
        found: dict[int, int | None] = {}
        for (_, places), reply in zip(batches, await self._run_all(FIND_OR_SAVE, calls), strict=True):
            found |= {place: int(entry_id) if entry_id else None for place, entry_id in zip(places, reply, strict=True)}
        return [found[place] for place in range(len(entries))]

    def _find_or_save_call(self, group: int, entries: Sequence[Entry]) -> Call:
        keys = [link_key(entry.author_id, entry.link_id) for entry in entries]
        arguments: list[Any] = [self._lifetime, entry_prefix(group), gone_key(group)]
        for entry in entries:
            arguments += [2 * entry.event.version - 1, entry.id, _write_entry(entry)]
        return keys, arguments

    # --- feeds --------------------------------------------------------------------------------------------------------

    async def push(
        self, author_id: int, entry_ids: Collection[int], replaced: Sequence[int], follower_ids: Sequence[int]
    ) -> None:
        told = (self._max_length, self._lifetime, len(entry_ids), *sorted(entry_ids), *replaced)
        feeds_at_once = min(FEEDS_AT_ONCE, max(1, PUSHES_AT_ONCE // max(1, len(entry_ids))))
        calls: list[Call] = [
            (
                (
                    left_key(group, author_id),
                    gone_key(group),
                    *(f"feed:{{{group}}}:{follower_id}" for follower_id in some),
                ),
                (reader_prefix(group), *told),
            )
            for group, members in _by_group(follower_ids).items()
            for some in batched(members, feeds_at_once)
        ]
        await self._run_all(PUSH, calls)

    async def find_progress(self, author_id: int, entry_ids: Collection[int]) -> str:
        keys = [progress_key(author_id, entry_id) for entry_id in entry_ids]
        async with store_errors():
            places = set(await ask(self._redis, "MGET", *keys))
        return "" if len(places) > 1 or None in places else places.pop().decode()

    async def keep_progress(self, author_id: int, entry_ids: Collection[int], place: str) -> None:
        keys = [progress_key(author_id, entry_id) for entry_id in entry_ids]
        if not place:
            await self._write([("UNLINK", *keys)])
            return
        await self._write([("SET", key, place, "PX", LEAVING // _MILLISECOND) for key in keys])

    async def set_following(self, follower_id: int, author_id: int, order: FollowOrder, following: bool) -> bool:
        group = group_of_user(follower_id)
        follow, left = follow_key(follower_id, author_id), left_key(group, author_id)
        newest = await self._run(
            SET_FOLLOWING,
            (follow, left, gone_key(group), reader_key(follower_id)),
            (
                _write_order(order),
                FOLLOW_MEMORY // _MILLISECOND,
                int(following),
                follower_id,
                LEAVING // _MILLISECOND,
                author_id,
            ),
        )
        if newest != 1:
            return False
        # The author is remembered elsewhere. Asked afterwards: who erases them looks for what is written here after
        # that is known.
        async with store_errors():
            if await ask(self._redis, "ZSCORE", gone_key(group_of_user(author_id)), author_id) is None:
                return True
        await self._write([("UNLINK", follow), ("HDEL", left, follower_id)])
        return False

    async def merge(self, follower_id: int, share: Share, order: FollowOrder) -> None:
        await self._run(
            MERGE,
            (
                follow_key(follower_id, share.author_id),
                feed_key(follower_id),
                gone_key(group_of_user(follower_id)),
                reader_key(follower_id),
            ),
            (
                *(_write_order(order), share.author_id, int(share.timeline), self._max_length, self._lifetime),
                *sorted(share.entry_ids),
            ),
        )

    async def drop_author(self, follower_id: int, author_id: int, order: FollowOrder) -> None:
        group = group_of_user(author_id)
        async with self._open_line() as line:
            (feed,) = await line.ask(_ids_command(follower_id, Stretch(), 0))
            ids = [entry_id for entry_id in map(int, feed) if group_of_entry(entry_id) == group]
            contents = await line.contents(ids)
        of_author = [entry_id for entry_id, content in contents.items() if _read_author(content) == author_id]
        if not of_author:
            return
        await self._run(
            DROP,
            (follow_key(follower_id, author_id), feed_key(follower_id)),
            (_write_order(order), self._lifetime, *of_author),
        )

    async def read_feed(self, reader_id: int, stretch: Stretch, limit: int) -> Sequence[Entry]:
        return [_read_entry(content) for _, content in await self._read(reader_id, stretch, limit)]

    async def read_feed_json(self, reader_id: int, stretch: Stretch, limit: int) -> Sequence[EntryJson]:
        return [
            EntryJson(entry_id, _json_of(content)) for entry_id, content in await self._read(reader_id, stretch, limit)
        ]

    async def _read(self, reader_id: int, stretch: Stretch, limit: int) -> Sequence[tuple[int, bytes]]:
        """Ids and contents."""
        read: list[tuple[int, bytes]] = []
        shown: set[bytes] = set()
        wanted = limit
        async with self._open_line() as line:
            ids, chores = await self._open_feed(line, reader_id, stretch, wanted)
            while True:
                found = await line.contents(ids)
                once = _without_repeats(found, shown)
                read = [*once, *read] if stretch.oldest else [*read, *once]
                # So that it is skipped once only and takes no room.
                chores += [("LREM", feed_key(reader_id), 1, entry_id) for entry_id in ids if entry_id not in found]
                if len(read) >= limit or len(ids) < wanted:
                    break
                stretch = stretch._replace(above=ids[0]) if stretch.oldest else stretch._replace(below=ids[-1])
                wanted = max(limit - len(read), _READ_ON)
                (feed,) = await line.ask(_ids_command(reader_id, stretch, wanted))
                ids = _ids_within(stretch, feed)
            # Who takes no writes can be read from.
            with suppress(RedisConnectionError):
                await line.ask(*chores)
        return read[-limit:] if stretch.oldest else read[:limit]

    async def _open_feed(
        self, line: "_Line", reader_id: int, stretch: Stretch, wanted: int
    ) -> tuple[list[int], list[Command]]:
        """The ids that are read first, and what is to be done after the page.

        Raises:
            FeedNotBuiltError: there is no such feed.
        """
        reader, feed, group = reader_key(reader_id), feed_key(reader_id), group_of_user(reader_id)
        ending, look = ("PTTL", reader), _ids_command(reader_id, stretch, wanted)
        if stretch.below is None:
            keys = (reader, feed, counts_key(group), newest_key(group))
            opening = ("EVALSHA", OPEN.sha, len(keys), *keys, self._max_length, self._lifetime)
            behind, left, ids = await line.ask(opening, ending, look)
        else:
            # What is older than something has been taken with what is newer.
            state, left, ids = await line.ask(("HGET", reader, "state"), ending, look)
            behind = [] if state == b"built" else None
        if behind is None:
            raise FeedNotBuiltError
        if behind and (taken := await self._find_since(line, dict(batched(behind, 2)))):
            take = ("EVALSHA", TAKE.sha, 2, reader, feed, self._max_length, self._lifetime, *taken)
            _, ids = await line.ask(take, look)
        # Not with every page: it costs as much as a part of it.
        chores: list[Command] = []
        if left < self._lifetime - self._lifetime / 30:
            chores = [("PEXPIRE", key, self._lifetime) for key in (reader, feed)]
        return _ids_within(stretch, ids), chores

    async def _find_since(self, line: "_Line", seen: Mapping[bytes, bytes]) -> list[Any]:
        """What has come since in timelines, as ``TAKE`` reads it."""
        taken: list[Any] = []
        by_group = [
            some for members in _by_group(map(int, seen)).values() for some in batched(members, TIMELINES_AT_ONCE)
        ]
        commands = [
            (
                *("EVALSHA", SINCE.sha, 2 * len(authors)),
                *(key for author_id in authors for key in (count_key(author_id), timeline_key(author_id))),
                *(seen[b"%d" % author_id] for author_id in authors),
            )
            for authors in by_group
        ]
        for authors, reply in zip(by_group, await line.ask(*commands), strict=True):
            for author_id, news in zip(authors, reply, strict=True):
                if news:
                    now, *ids = news
                    taken += (author_id, seen[b"%d" % author_id], now, len(ids), *sorted(map(int, ids)))
        return taken

    @asynccontextmanager
    async def _open_line(self) -> "AsyncIterator[_Line]":
        pool = self._redis.connection_pool
        async with store_errors():
            connection = await self._take_connection()
            try:
                yield _Line(connection)
            except BaseException:
                # Answers may be on their way that nobody waits for.
                await connection.disconnect(nowait=True)
                await pool.release(connection)
                raise
            if len(self._kept) < _MAX_KEPT:
                self._kept.append(connection)
            else:
                await pool.release(connection)

    async def _take_connection(self) -> Connection:
        pool = self._redis.connection_pool
        while self._kept:
            connection = self._kept.pop()
            if may_be_used(connection):
                return connection
            # Connected anew when it is wanted.
            await pool.release(connection)
        return await pool.get_connection()  # type: ignore[no-untyped-call, no-any-return]  # it has no types

    # --- building a feed ----------------------------------------------------------------------------------------------

    async def has_feed(self, reader_id: int) -> bool:
        async with store_errors():
            return bool(await ask(self._redis, "EXISTS", reader_key(reader_id)))

    async def begin_feed(self, reader_id: int, builder: str) -> Beginning:
        keys = (reader_key(reader_id), feed_key(reader_id), gone_key(group_of_user(reader_id)))
        return Beginning((await self._run(BEGIN, keys, (builder, BUILDING // _MILLISECOND))).decode())

    async def fill_feed(self, reader_id: int, builder: str, shares: Sequence[Share]) -> bool:
        group = group_of_user(reader_id)
        for some in [*batched(shares, SHARES_AT_ONCE)] or [()]:
            keys = [reader_key(reader_id), feed_key(reader_id), *(left_key(group, one.author_id) for one in some)]
            arguments: list[Any] = [builder, BUILDING // _MILLISECOND, self._max_length, self._lifetime]
            for one in some:
                arguments += (one.author_id, int(one.timeline), len(one.entry_ids), *sorted(one.entry_ids))
            if await self._run(FILL, keys, arguments) != 1:
                return False
        return True

    async def finish_feed(self, reader_id: int, builder: str) -> bool:
        keys = reader_key(reader_id), feed_key(reader_id)
        return bool(await self._run(FINISH, keys, (builder, self._lifetime)) == 1)

    async def abandon_feed(self, reader_id: int, builder: str) -> None:
        await self._run(ABANDON, (reader_key(reader_id), feed_key(reader_id)), (builder,))

    # --- timelines ----------------------------------------------------------------------------------------------------

    async def find_timelines(self, author_ids: Collection[int]) -> Mapping[int, Timeline]:
        found: dict[int, Timeline] = {}
        by_group = [*_by_group(author_ids).values()]
        async with store_errors():
            pipeline = self._redis.pipeline(transaction=False)
            for members in by_group:
                pipeline.mget([*map(untold_key, members)])
            for members, reply in zip(by_group, await pipeline.execute(), strict=True):
                for author_id, place in zip(members, reply, strict=True):
                    if place is not None:
                        found[author_id] = Timeline(None if place == _ALL_TOLD else place.decode())
        return found

    async def open_timeline(self, author_id: int) -> None:
        keys = count_key(author_id), untold_key(author_id), gone_key(group_of_user(author_id))
        await self._run(OPEN_TIMELINE, keys, (self._lifetime, author_id))

    async def note_in_timeline(self, author_id: int, entry_ids: Collection[int]) -> bool:
        keys = count_key(author_id), timeline_key(author_id), untold_key(author_id)
        noted = await self._run(NOTE, keys, (self._max_length, self._lifetime, NEWEST_TOLD, *sorted(entry_ids)))
        if noted is None:
            return False
        count, *newest = noted
        # In each group, so that a reader finds those of all authors in one place.
        told = (author_id, count, b",".join(newest), self._lifetime)
        calls: list[Call] = [((counts_key(group), newest_key(group)), told) for group in range(GROUPS)]
        await self._run_all(ANNOUNCE, calls)
        return True

    async def join_timeline(self, author_id: int, follower_ids: Sequence[int]) -> None:
        calls: list[Call] = [
            ((left_key(group, author_id), gone_key(group), *map(reader_key, some)), (author_id,))
            for group, members in _by_group(follower_ids).items()
            for some in batched(members, FEEDS_AT_ONCE)
        ]
        await self._run_all(JOIN, calls)

    async def keep_untold(self, author_id: int, place: str | None) -> None:
        told = _ALL_TOLD if place is None else place
        await self._write([("SET", untold_key(author_id), told, "XX", "PX", self._lifetime)])

    async def close_timeline(self, author_id: int) -> None:
        await self._write([("UNLINK", untold_key(author_id))])

    # --- leaving ------------------------------------------------------------------------------------------------------

    async def erase_user(self, user_id: int, after: erasure.Place) -> erasure.Place | None:
        """First what is found by its name; then what is found by going through all keys, three times."""
        group = group_of_user(user_id)
        step, cursor = after
        if step == _BY_NAME:
            await self._run(SET_GONE, (gone_key(group),), (user_id, GONE_MEMORY // _MILLISECOND))
            own = (feed_key, reader_key, timeline_key, count_key, untold_key)
            lefts = [left_key(other, user_id) for other in range(GROUPS)]
            await self._unlink([*(key(user_id) for key in own), *lefts])
            async with store_errors():
                await self._forget(user_id, [key(group) for key in (counts_key, newest_key) for group in range(GROUPS)])
            return _IN_GROUP, 0
        patterns = {
            _IN_GROUP: f"news:*:{{{group}}}:*",
            _AS_AUTHOR: f"news:follow:{{*}}:*:{user_id}",
            _IN_READERS: f"{READERS}*",
        }
        for _ in range(_SCANS_AT_ONCE):
            async with store_errors():
                cursor, keys = await ask(self._redis, "SCAN", cursor, "MATCH", patterns[step], "COUNT", _SCAN_COUNT)
                if step == _IN_READERS:
                    await self._forget(user_id, keys)
                else:
                    await self._unlink(await self._find_own(user_id, keys) if step == _IN_GROUP else keys)
            if cursor == 0:
                return (step + 1, 0) if step < _IN_READERS else None
        return step, cursor

    async def _forget(self, user_id: int, keys: Iterable[str | bytes]) -> None:
        """Takes the user out of what is others'."""
        await self._write([("HDEL", key, user_id) for key in keys])

    async def _find_own(self, user_id: int, keys: Sequence[bytes]) -> list[bytes]:
        """Of keys of the user's group, those that are the user's; takes the user out of what is others'."""
        of_user = b":%d:" % user_id
        entries = [key for key in keys if key.startswith(b"news:entry:")]
        pipeline = self._redis.pipeline(transaction=False)
        for key in entries:
            pipeline.getrange(key, 0, len(of_user) - 2)
        replies = await pipeline.execute()
        await self._forget(user_id, (key for key in keys if key.startswith(b"news:left:")))
        own = [key for key, begins in zip(entries, replies, strict=True) if begins == of_user[1:]]
        return own + [key for key in keys if key.startswith(_OF_PAIRS) and of_user in key]

    async def _unlink(self, keys: Sequence[str | bytes]) -> None:
        """One by one: they are not all in one place."""
        await self._write([("UNLINK", key) for key in keys])

    # --- writing ------------------------------------------------------------------------------------------------------

    async def _run(self, script: Script, keys: Sequence[str], arguments: Sequence[Any]) -> Any:  # noqa: ANN401  # a script's reply is of any shape
        (reply,) = await self._run_all(script, [(keys, arguments)])
        return reply

    async def _run_all(self, script: Script, calls: Sequence[Call]) -> list[Any]:
        """In their order; the reply of each."""
        if not calls:
            return []
        async with store_errors():
            return self._copied(await script.run_all(self._redis, calls, self._copying))

    async def _write(self, commands: Sequence[Command]) -> None:
        if commands:
            async with store_errors():
                self._copied(await ask_all(self._redis, [*commands, *self._copying]))

    def _copied(self, replies: list[Any]) -> list[Any]:
        """Those to what was asked, without those of ``_copying``."""
        if self._copying and replies[-1] < self._replicas:
            raise Unavailable(
                "the store of news has no second copy now; try again shortly",
                code="news_store_unavailable",
                retry_after=1,
            )
        return replies[: len(replies) - len(self._copying)]


class _Line:
    """A connection that is held for several questions: to take one for each costs more than to ask."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def contents(self, entry_ids: Sequence[int]) -> dict[int, bytes]:
        """Those that there still are, by id, in the order of ``entry_ids``."""
        by_group: defaultdict[int, list[int]] = defaultdict(list)
        for entry_id in entry_ids:
            by_group[group_of_entry(entry_id)].append(entry_id)
        commands = [("MGET", *map(entry_key, ids)) for ids in by_group.values()]
        answers = await self.ask(*commands)
        contents = {
            entry_id: content
            for ids, reply in zip(by_group.values(), answers, strict=True)
            for entry_id, content in zip(ids, reply, strict=True)
        }
        return {entry_id: content for entry_id in entry_ids if (content := contents[entry_id]) is not None}

    async def ask(self, *commands: Command) -> list[Any]:
        """The answers, all commands being sent at once."""
        if not commands:
            return []
        await self._connection.send_packed_command(self._connection.pack_commands(commands))
        answers: list[Any] = []
        again: list[Command] = []
        for command in commands:
            try:
                answer = await self._connection.read_response()
            except NoScriptError:
                _, sha, *rest = command
                again.append(("EVAL", _SOURCES[sha], *rest))
                continue
            if again:
                # It was to be answered after what is still to be done.
                again.append(command)
            else:
                answers.append(answer)
        return answers + await self.ask(*again)


@asynccontextmanager
async def store_errors() -> AsyncIterator[None]:
    """Faults of the store as ours, and an end to waiting for it.

    Raises:
        Unavailable: it is away, too slow or full; the same call may succeed later.
    """
    try:
        async with asyncio.timeout(_CALL_TIMEOUT):
            yield
    except (RedisError, OSError, asyncio.IncompleteReadError) as fault:
        late = isinstance(fault, TimeoutError | RedisTimeoutError)
        what = "does not answer in time" if late else "cannot be used now"
        raise Unavailable(
            f"the store of news {what}; try again shortly", code="news_store_unavailable", retry_after=1
        ) from fault


def _ids_command(reader_id: int, stretch: Stretch, count: int) -> Command:
    """Asks for at most ``count``, of the whole feed for all with 0. Some may be beyond the other end of the stretch."""
    feed = feed_key(reader_id)
    if stretch.oldest:
        return "EVALSHA", READ_BEFORE.sha, 1, feed, stretch.above or 0, count
    if stretch.below is not None:
        return "EVALSHA", READ_BEHIND.sha, 1, feed, stretch.below, count
    return "LRANGE", feed, 0, count - 1


def _ids_within(stretch: Stretch, ids: Iterable[bytes | int]) -> list[int]:
    above, below = stretch.above, stretch.below
    return [
        entry_id
        for entry_id in map(int, ids)
        if (above is None or entry_id > above) and (below is None or entry_id < below)
    ]


def _by_group(user_ids: Iterable[int]) -> dict[int, list[int]]:
    by_group: defaultdict[int, list[int]] = defaultdict(list)
    for user_id in user_ids:
        by_group[group_of_user(user_id)].append(user_id)
    return by_group


def _milliseconds(time: datetime) -> int:
    return (time - _EPOCH) // _MILLISECOND


def _write_order(order: FollowOrder) -> str:
    """As text that sorts as the order does."""
    return f"{(order.timestamp - _EPOCH) // _MICROSECOND:016d}{order.event_id:019d}"


def _write_entry(entry: Entry) -> bytes:
    """What only we need stands before what the API shows, which is passed on as it is."""
    return b"%d:%d:%b" % (entry.author_id, entry.link_id, encode(news_event_to_wire(entry.event)))


def _without_repeats(found: Mapping[int, bytes], shown: set[bytes]) -> list[tuple[int, bytes]]:
    """The first of each author's URL, which becomes one of ``shown``.

    A link that was saved anew is another one, and may be known, from its author's links, before the end of the first is
    told.
    """
    once: list[tuple[int, bytes]] = []
    for entry_id, content in found.items():
        # A quote within a text of JSON is escaped, so neither mark can be a part of one.
        begin = content.index(b'"Url":"') + 7
        url = content[begin : content.index(b'","', begin - 1)]
        page = content[: content.index(b":")] + url
        if not url or page not in shown:
            shown.add(page)
            once.append((entry_id, content))
    return once


def _read_author(content: bytes) -> int:
    return int(content[: content.index(b":")])


def _json_of(content: bytes) -> bytes:
    return content[content.index(b"{") :]


def _read_entry(content: bytes) -> Entry:
    author_id, link_id, json = content.split(b":", 2)
    return Entry(author_id=int(author_id), link_id=int(link_id), event=news_event_from_wire(decode(json)))
