"""News in Valkey, or anything else that speaks Redis's protocol (see docs/adr/012).

::

    feed:{b}:<user>                   list of entry ids, newest first      b: the reader's group
    news:entry:{b}:<entry>            <author>:<link>:<entry, as JSON>     b: its author's
    news:link:{b}:<author>:<link>     <rank>:<entry id, or nothing>        b: the author's
    news:follow:{b}:<user>:<author>   the newest order known of the two    b: the user's
    news:left:{b}:<author>            hash of those who left lately        b: theirs
    news:gone:{b}                     users who are gone, by when that     b: theirs
                                      is forgotten

Keys of one command or script share the tag in braces, and so a slot: the store can be a cluster.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import batched
from typing import Any, Final

from redis.asyncio import Connection, Redis
from redis.exceptions import NoScriptError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from pkg.news_manager.entry_ids import GROUPS, group_of_entry, group_of_user
from pkg.news_manager.store import (
    FOLLOW_MEMORY,
    GONE_MEMORY,
    LEAVING,
    LIFETIME,
    MAX_FEED_LENGTH,
    Change,
    Entry,
    EntryJson,
    FollowOrder,
    LinkEnd,
    NewsStore,
    Stretch,
)
from pkg.object_model import erasure
from pkg.object_model.errors import Unavailable
from pkg.object_model.wire import news_event_from_wire, news_event_to_wire
from pkg.runtime.json import decode, encode
from pkg.runtime.redis import Call, Script, ask

#: Feeds that one script changes: while it runs, nobody else is served.
FEEDS_AT_ONCE: Final = 500
#: Entries that one script puts into feeds, all feeds together, likewise.
PUSHES_AT_ONCE: Final = 10_000
#: Entries that one script changes, likewise.
CHANGES_AT_ONCE: Final = 100

#: Connections that readers keep for each other, half of the pool's: to take one of it is a fifth of what a page costs.
_MAX_KEPT: Final = 16
#: Seconds, for all that one call asks.
_CALL_TIMEOUT: Final = 3.0
#: Ids that a reader asks for when the first ones were not enough.
_READ_ON: Final = 100
#: Keys that one look at all of them goes through, and the looks of one call.
_SCAN_COUNT: Final = 1_000
_SCANS_AT_ONCE: Final = 10
#: The steps of erasing a user.
_BY_NAME, _IN_GROUP, _AS_AUTHOR = range(3)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_MILLISECOND: Final = timedelta(milliseconds=1)


# --- scripts about entries: all keys are the author's -----------------------------------------------------------------

_LINK: Final = """
local function read_link(key)
    local known = redis.call('GET', key)
    if not known then return 0, '' end
    local rank, id = string.match(known, '^(%d+):(%d*)$')
    return tonumber(rank), id
end
"""

#: link...; lifetime, prefix of entries, gone, (rank, id, entry)... -> (holds?, id of the entry that ended)...
#: Without an id it is the link's end; without a rank the entry is about many links.
_CHANGE: Final = Script(
    _LINK,
    """
local lifetime, prefix, told = ARGV[1], ARGV[2], {}
local anyone_gone = redis.call('EXISTS', ARGV[3]) == 1
for i, key in ipairs(KEYS) do
    local rank, id, entry = ARGV[3 * i + 1], ARGV[3 * i + 2], ARGV[3 * i + 3]
    local holds, ended = true, ''
    if anyone_gone and redis.call('ZSCORE', ARGV[3], string.match(key, ':(%d+):%d+$')) then
        holds = false
    elseif rank == '' then
        redis.call('SET', prefix .. id, entry, 'PX', lifetime)
    else
        local known_rank, known_id = read_link(key)
        if id == '' then
            holds = known_rank <= tonumber(rank)
        elseif known_rank >= tonumber(rank) then
            holds = known_id == id
        end
        if holds and known_id ~= id then ended = known_id end
        if known_rank < tonumber(rank) or (holds and id == '') then
            redis.call('SET', key, rank .. ':' .. id, 'PX', lifetime)
            if ended ~= '' then redis.call('DEL', prefix .. ended) end
            if id ~= '' then redis.call('SET', prefix .. id, entry, 'PX', lifetime) end
        end
    end
    told[2 * i - 1], told[2 * i] = holds and 1 or 0, ended
end
return told
""",
)

#: link...; lifetime, prefix of entries, gone, author, (rank, id, entry)... -> an id, or nothing, for each
_FIND_OR_SAVE: Final = Script(
    _LINK,
    """
local found = {}
if redis.call('ZSCORE', ARGV[3], ARGV[4]) then return found end
for i, key in ipairs(KEYS) do
    local rank, id, entry = ARGV[3 * i + 2], ARGV[3 * i + 3], ARGV[3 * i + 4]
    local known_rank, known_id = read_link(key)
    if known_rank == 0 then
        redis.call('SET', key, rank .. ':' .. id, 'PX', ARGV[1])
        redis.call('SET', ARGV[2] .. id, entry, 'PX', ARGV[1])
        found[i] = id
    else
        found[i] = known_id
    end
end
return found
""",
)

# --- scripts about feeds: all keys are the readers' -------------------------------------------------------------------

_FEED: Final = """
-- Ids have more bits than a number of Lua's, so they are compared as text.
local function is_older(a, b)
    if #a ~= #b then return #a < #b end
    return a < b
end

local function write(feed, ids)
    redis.call('DEL', feed)
    for first = 1, #ids, 500 do
        redis.call('RPUSH', feed, unpack(ids, first, math.min(first + 499, #ids)))
    end
end

-- Puts ids, oldest first, on top.
local function push(feed, ids)
    local length
    for first = 1, #ids, 500 do
        length = redis.call('LPUSH', feed, unpack(ids, first, math.min(first + 499, #ids)))
    end
    return length
end

-- The top of a feed, down to an id.
local function read_down_to(feed, id)
    local count = 32
    while true do
        local ids = redis.call('LRANGE', feed, 0, count - 1)
        if #ids < count or is_older(ids[#ids], id) then
            while #ids > 0 and is_older(ids[#ids], id) do ids[#ids] = nil end
            return ids
        end
        count = count * 4
    end
end

-- Writes no more of a feed than its top, each id once.
local function merge(feed, ids, cap)
    local first = 1
    if redis.call('LLEN', feed) >= cap then
        local last = redis.call('LINDEX', feed, -1)
        while ids[first] and is_older(ids[first], last) do first = first + 1 end
    end
    if not ids[first] then return end
    local top, all = read_down_to(feed, ids[first]), {}
    local i, j = #top, first
    while i > 0 or ids[j] do
        if not ids[j] or (i > 0 and not is_older(ids[j], top[i])) then
            if top[i] == ids[j] then j = j + 1 end
            all[#all + 1] = top[i]
            i = i - 1
        else
            all[#all + 1] = ids[j]
            j = j + 1
        end
    end
    if #all == #top then return end
    redis.call('LTRIM', feed, #top, -1)
    if push(feed, all) > cap then redis.call('LTRIM', feed, 0, cap - 1) end
end

-- Ids oldest first, almost always newer than all that is there.
local function insert(feed, ids, cap)
    local head = redis.call('LINDEX', feed, 0)
    if not head or is_older(head, ids[1]) then
        if push(feed, ids) > cap then redis.call('LTRIM', feed, 0, cap - 1) end
    elseif #ids > 1 or head ~= ids[1] then
        merge(feed, ids, cap)
    end
end

-- Not with every change: it costs as much as the change itself.
local function extend(feed, lifetime)
    if redis.call('PTTL', feed) < lifetime - lifetime / 30 then
        redis.call('PEXPIRE', feed, lifetime)
    end
end
"""

#: left, gone, feed...; cap, lifetime, number of new ids, new ids (oldest first), replaced ids
_PUSH: Final = Script(
    _FEED,
    """
local cap, lifetime, count = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local ids = {unpack(ARGV, 4, 3 + count)}
local anyone_left, anyone_gone = redis.call('EXISTS', KEYS[1]) == 1, redis.call('EXISTS', KEYS[2]) == 1
local function is_away(reader)
    return (anyone_left and redis.call('HEXISTS', KEYS[1], reader) == 1)
        or (anyone_gone and redis.call('ZSCORE', KEYS[2], reader))
end
for i = 3, #KEYS do
    local feed = KEYS[i]
    if not is_away(string.match(feed, '%d+$')) then
        for j = 4 + count, #ARGV do
            -- Mostly near the head. Further down it stays, and is skipped by readers.
            if redis.call('LPOS', feed, ARGV[j], 'MAXLEN', 128) then redis.call('LREM', feed, 1, ARGV[j]) end
        end
        if count > 0 then
            insert(feed, ids, cap)
            extend(feed, lifetime)
        end
    end
end
""",
)

#: follow, left, gone; order, its lifetime, following?, follower, lifetime of left -> newest?
_SET_FOLLOWING: Final = Script("""
if redis.call('ZSCORE', KEYS[3], ARGV[4]) then return 0 end
local known = redis.call('GET', KEYS[1])
if known and known > ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
if ARGV[3] == '1' then
    redis.call('HDEL', KEYS[2], ARGV[4])
else
    redis.call('HSET', KEYS[2], ARGV[4], 1)
    redis.call('PEXPIRE', KEYS[2], ARGV[5])
end
return 1
""")

#: follow, feed, gone; order, cap, lifetime, ids (oldest first)
_MERGE: Final = Script(
    _FEED,
    """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return end
if redis.call('ZSCORE', KEYS[3], string.match(KEYS[2], '%d+$')) then return end
insert(KEYS[2], {unpack(ARGV, 4)}, tonumber(ARGV[2]))
extend(KEYS[2], tonumber(ARGV[3]))
""",
)

#: follow, feed; order, lifetime, ids
_DROP: Final = Script(
    _FEED,
    """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return end
local gone, left = {}, {}
for i = 3, #ARGV do gone[ARGV[i]] = true end
for _, id in ipairs(redis.call('LRANGE', KEYS[2], 0, -1)) do
    if not gone[id] then left[#left + 1] = id end
end
write(KEYS[2], left)
if #left > 0 then extend(KEYS[2], tonumber(ARGV[2])) end
""",
)

#: gone; user, lifetime
_SET_GONE: Final = Script("""
redis.call('ZADD', KEYS[1], 0, ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
-- By the server's clock, for which there is no command that the service may use.
local forgotten_at = redis.call('PEXPIRETIME', KEYS[1])
redis.call('ZADD', KEYS[1], forgotten_at, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', forgotten_at - ARGV[2])
""")

#: feed; id, count -> the ids behind it, whether or not it is still there
_READ_BEHIND: Final = Script(
    _FEED,
    """
local place = redis.call('LPOS', KEYS[1], ARGV[1])
local first = place and place + 1
if not first then
    local ids = redis.call('LRANGE', KEYS[1], 0, -1)
    first = 0
    while first < #ids and not is_older(ids[first + 1], ARGV[1]) do first = first + 1 end
end
return redis.call('LRANGE', KEYS[1], first, first + ARGV[2] - 1)
""",
)

#: feed; id, count -> the ids right before it, whether or not it is still there
_READ_BEFORE: Final = Script(
    _FEED,
    """
local place = redis.call('LPOS', KEYS[1], ARGV[1])
if not place then
    local ids = redis.call('LRANGE', KEYS[1], 0, -1)
    place = 0
    while place < #ids and is_older(ARGV[1], ids[place + 1]) do place = place + 1 end
end
if place == 0 then return {} end
return redis.call('LRANGE', KEYS[1], math.max(0, place - ARGV[2]), place - 1)
""",
)


class RedisNewsStore(NewsStore):
    def __init__(self, redis: Redis, *, max_length: int = MAX_FEED_LENGTH, lifetime: timedelta = LIFETIME) -> None:
        self._redis = redis
        self._max_length = max_length
        self._lifetime = lifetime // _MILLISECOND
        #: Connections that are the pool's, and stay taken for the next reader.
        self._kept: list[Connection] = []

    async def check(self) -> None:
        """Raises Unavailable."""
        async with store_errors():
            await ask(self._redis, "PING")

    # --- entries ------------------------------------------------------------------------------------------------------

    async def change_entries(self, changes: Sequence[Entry | LinkEnd]) -> list[Change]:
        by_group: defaultdict[int, list[int]] = defaultdict(list)
        for place, change in enumerate(changes):
            by_group[group_of_user(change.author_id)].append(place)
        batches = [(group, some) for group, places in by_group.items() for some in batched(places, CHANGES_AT_ONCE)]
        calls = [self._change_call(group, [changes[place] for place in places]) for group, places in batches]
        told: dict[int, Change] = {}
        for (_, places), reply in zip(batches, await self._run_all(_CHANGE, calls), strict=True):
            for place, (holds, ended) in zip(places, batched(reply, 2), strict=True):
                told[place] = Change(holds == 1, int(ended) if ended else None)
        return [told[place] for place in range(len(changes))]

    def _change_call(self, group: int, changes: Sequence[Entry | LinkEnd]) -> Call:
        keys = [_link_key(change.author_id, change.link_id) for change in changes]
        arguments: list[Any] = [self._lifetime, _entry_prefix(group), _gone_key(group)]
        for change in changes:
            if isinstance(change, LinkEnd):
                arguments += [2 * change.version, "", ""]
            else:
                rank = 2 * change.event.version if change.link_id else ""
                arguments += [rank, change.id, _write_entry(change)]
        return keys, arguments

    async def find_or_save_entries(self, entries: Sequence[Entry]) -> list[int]:
        if not entries:
            return []
        keys = [_link_key(entry.author_id, entry.link_id) for entry in entries]
        author_id = entries[0].author_id
        group = group_of_user(author_id)
        arguments: list[Any] = [self._lifetime, _entry_prefix(group), _gone_key(group), author_id]
        for entry in entries:
            arguments += [2 * entry.event.version - 1, entry.id, _write_entry(entry)]
        return [int(found) for found in await self._run(_FIND_OR_SAVE, keys, arguments) if found]

    # --- feeds --------------------------------------------------------------------------------------------------------

    async def push(
        self, author_id: int, entry_ids: Collection[int], replaced: Sequence[int], follower_ids: Sequence[int]
    ) -> None:
        arguments = (self._max_length, self._lifetime, len(entry_ids), *sorted(entry_ids), *replaced)
        feeds_at_once = min(FEEDS_AT_ONCE, max(1, PUSHES_AT_ONCE // max(1, len(entry_ids))))
        by_group: defaultdict[int, list[int]] = defaultdict(list)
        for follower_id in follower_ids:
            by_group[group_of_user(follower_id)].append(follower_id)
        calls: list[Call] = [
            (
                (
                    _left_key(group, author_id),
                    _gone_key(group),
                    *(f"feed:{{{group}}}:{follower_id}" for follower_id in some),
                ),
                arguments,
            )
            for group, members in by_group.items()
            for some in batched(members, feeds_at_once)
        ]
        await self._run_all(_PUSH, calls)

    async def set_following(self, follower_id: int, author_id: int, order: FollowOrder, following: bool) -> bool:
        group = group_of_user(follower_id)
        follow, left = _follow_key(follower_id, author_id), _left_key(group, author_id)
        newest = await self._run(
            _SET_FOLLOWING,
            (follow, left, _gone_key(group)),
            (
                _write_order(order),
                FOLLOW_MEMORY // _MILLISECOND,
                int(following),
                follower_id,
                LEAVING // _MILLISECOND,
            ),
        )
        if newest != 1:
            return False
        # The author is remembered elsewhere. Asked afterwards: who erases them looks for what is written here after
        # that is known.
        async with store_errors():
            if await ask(self._redis, "ZSCORE", _gone_key(group_of_user(author_id)), author_id) is None:
                return True
            await ask(self._redis, "UNLINK", follow)
            await ask(self._redis, "HDEL", left, follower_id)
        return False

    async def merge(self, follower_id: int, author_id: int, order: FollowOrder, entry_ids: Sequence[int]) -> None:
        if not entry_ids:
            return
        await self._run(
            _MERGE,
            (_follow_key(follower_id, author_id), _feed_key(follower_id), _gone_key(group_of_user(follower_id))),
            (_write_order(order), self._max_length, self._lifetime, *sorted(entry_ids)),
        )

    async def drop_author(self, follower_id: int, author_id: int, order: FollowOrder) -> None:
        group = group_of_user(author_id)
        async with self._open_line() as line:
            ids = [
                entry_id for entry_id in await line.ids(follower_id, Stretch(), 0) if group_of_entry(entry_id) == group
            ]
            contents = await line.contents(ids)
        of_author = [entry_id for entry_id, content in contents.items() if _read_author(content) == author_id]
        if not of_author:
            return
        await self._run(
            _DROP,
            (_follow_key(follower_id, author_id), _feed_key(follower_id)),
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
        gone: list[int] = []
        wanted = limit
        async with self._open_line() as line:
            while True:
                ids = await line.ids(reader_id, stretch, wanted)
                found = await line.contents(ids)
                read = [*found.items(), *read] if stretch.oldest else [*read, *found.items()]
                gone += [entry_id for entry_id in ids if entry_id not in found]
                if len(read) >= limit or len(ids) < wanted:
                    break
                stretch = stretch._replace(above=ids[0]) if stretch.oldest else stretch._replace(below=ids[-1])
                wanted = max(limit - len(read), _READ_ON)
            if gone:
                # So that it is skipped once only and takes no room.
                await line.ask(*(("LREM", _feed_key(reader_id), 1, entry_id) for entry_id in gone))
        return read[-limit:] if stretch.oldest else read[:limit]

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
            reader = connection._reader  # noqa: SLF001  # nobody else knows whether the store hung up
            if reader is not None and not reader.at_eof():
                return connection
            # Connected anew when it is wanted.
            await pool.release(connection)
        return await pool.get_connection()  # type: ignore[no-untyped-call, no-any-return]  # it has no types

    # --- leaving ------------------------------------------------------------------------------------------------------

    async def erase_user(self, user_id: int, after: erasure.Place) -> erasure.Place | None:
        """First what is found by its name; then what is found by going through all keys, twice."""
        group = group_of_user(user_id)
        step, cursor = after
        if step == _BY_NAME:
            await self._run(_SET_GONE, (_gone_key(group),), (user_id, GONE_MEMORY // _MILLISECOND))
            await self._unlink([_feed_key(user_id), *(_left_key(other, user_id) for other in range(GROUPS))])
            return _IN_GROUP, 0
        pattern = f"news:*:{{{group}}}:*" if step == _IN_GROUP else f"news:follow:{{*}}:*:{user_id}"
        for _ in range(_SCANS_AT_ONCE):
            async with store_errors():
                cursor, keys = await ask(self._redis, "SCAN", cursor, "MATCH", pattern, "COUNT", _SCAN_COUNT)
                await self._unlink(await self._find_own(user_id, keys) if step == _IN_GROUP else keys)
            if cursor == 0:
                return (_AS_AUTHOR, 0) if step == _IN_GROUP else None
        return step, cursor

    async def _find_own(self, user_id: int, keys: Sequence[bytes]) -> list[bytes]:
        """Of keys of the user's group, those that are the user's; takes the user out of what is others'."""
        of_user = b":%d:" % user_id
        entries = [key for key in keys if key.startswith(b"news:entry:")]
        pipeline = self._redis.pipeline(transaction=False)
        for key in entries:
            pipeline.getrange(key, 0, len(of_user) - 2)
        for key in keys:
            if key.startswith(b"news:left:"):
                pipeline.execute_command("HDEL", key, user_id)
        replies = await pipeline.execute()
        own = [key for key, begins in zip(entries, replies, strict=False) if begins == of_user[1:]]
        return own + [key for key in keys if key.startswith((b"news:link:", b"news:follow:")) and of_user in key]

    async def _unlink(self, keys: Sequence[str | bytes]) -> None:
        """One by one: they are not all in one place."""
        if keys:
            async with store_errors():
                pipeline = self._redis.pipeline(transaction=False)
                for key in keys:
                    pipeline.unlink(key)
                await pipeline.execute()

    # --- scripts ------------------------------------------------------------------------------------------------------

    async def _run(self, script: Script, keys: Sequence[str], arguments: Sequence[Any]) -> Any:  # noqa: ANN401  # a script's reply is of any shape
        async with store_errors():
            return await script.run(self._redis, keys, arguments)

    async def _run_all(self, script: Script, calls: Sequence[Call]) -> list[Any]:
        """In their order; the reply of each."""
        if not calls:
            return []
        async with store_errors():
            return await script.run_all(self._redis, calls)


class _Line:
    """A connection that is held for several questions: to take one for each costs more than to ask."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def ids(self, reader_id: int, stretch: Stretch, count: int) -> list[int]:
        """At most ``count``; of the whole feed all for 0."""
        above, below, oldest = stretch
        feed = _feed_key(reader_id)
        if oldest:
            found = await self._run(_READ_BEFORE, feed, 0 if above is None else above, count)
        elif below is not None:
            found = await self._run(_READ_BEHIND, feed, below, count)
        else:
            (found,) = await self.ask(("LRANGE", feed, 0, count - 1))
        return [
            entry_id
            for entry_id in map(int, found)
            if (above is None or entry_id > above) and (below is None or entry_id < below)
        ]

    async def _run(self, script: Script, feed: str, *arguments: int) -> list[bytes]:
        try:
            (found,) = await self.ask(("EVALSHA", script.sha, 1, feed, *arguments))
        except NoScriptError:
            (found,) = await self.ask(("EVAL", script.source, 1, feed, *arguments))
        return found  # type: ignore[no-any-return]  # a script's reply is of any shape

    async def contents(self, entry_ids: Sequence[int]) -> dict[int, bytes]:
        """Those that there still are, by id, in the order of ``entry_ids``."""
        by_group: defaultdict[int, list[int]] = defaultdict(list)
        for entry_id in entry_ids:
            by_group[group_of_entry(entry_id)].append(entry_id)
        commands = [("MGET", *map(_entry_key, ids)) for ids in by_group.values()]
        contents = {
            entry_id: content
            for ids, reply in zip(by_group.values(), await self.ask(*commands), strict=True)
            for entry_id, content in zip(ids, reply, strict=True)
        }
        return {entry_id: content for entry_id in entry_ids if (content := contents[entry_id]) is not None}

    async def ask(self, *commands: Sequence[Any]) -> list[Any]:
        """The answers, all commands being sent at once."""
        if not commands:
            return []
        await self._connection.send_packed_command(self._connection.pack_commands(commands))
        return [await self._connection.read_response() for _ in commands]


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


def _feed_key(reader_id: int) -> str:
    return f"feed:{{{group_of_user(reader_id)}}}:{reader_id}"


def _entry_prefix(group: int) -> str:
    return f"news:entry:{{{group}}}:"


def _entry_key(entry_id: int) -> str:
    return f"{_entry_prefix(group_of_entry(entry_id))}{entry_id}"


def _link_key(author_id: int, link_id: int) -> str:
    return f"news:link:{{{group_of_user(author_id)}}}:{author_id}:{link_id}"


def _follow_key(follower_id: int, author_id: int) -> str:
    return f"news:follow:{{{group_of_user(follower_id)}}}:{follower_id}:{author_id}"


def _left_key(follower_group: int, author_id: int) -> str:
    return f"news:left:{{{follower_group}}}:{author_id}"


def _gone_key(group: int) -> str:
    return f"news:gone:{{{group}}}"


def _write_order(order: FollowOrder) -> str:
    """As text that sorts as the order does."""
    return f"{(order.timestamp - _EPOCH) // _MICROSECOND:016d}{order.event_id:019d}"


def _write_entry(entry: Entry) -> bytes:
    """What only we need stands before what the API shows, which is passed on as it is."""
    return b"%d:%d:%b" % (entry.author_id, entry.link_id, encode(news_event_to_wire(entry.event)))


def _read_author(content: bytes) -> int:
    return int(content[: content.index(b":")])


def _json_of(content: bytes) -> bytes:
    return content[content.index(b"{") :]


def _read_entry(content: bytes) -> Entry:
    author_id, link_id, json = content.split(b":", 2)
    return Entry(author_id=int(author_id), link_id=int(link_id), event=news_event_from_wire(decode(json)))
