"""What the store in Valkey does in one step each. All keys of a script are of one group, and so of one slot."""

from typing import Final

from pkg.runtime.redis import Script

# --- scripts about entries: all keys are the author's -----------------------------------------------------------------

_LINK: Final = """
local function read_link(key)
    local known = redis.call('GET', key)
    if not known then return 0, '' end
    local rank, id = string.match(known, '^(%d+):(%d*)$')
    return tonumber(rank), id
end
"""

#: since, link...; lifetime, prefix of entries, gone, now, doubt, (rank, id, time, entry)...
#: -> (1 if it holds, 2 if that is doubtful; id of the entry that ended)... Times are milliseconds; without a doubt all
#: is certain.
#: Without an id it is the link's end; without a rank the entry is about many links.
CHANGE: Final = Script(
    _LINK,
    """
local lifetime, prefix, told = ARGV[1], ARGV[2], {}
local anyone_gone = redis.call('EXISTS', ARGV[3]) == 1
local since = redis.call('GET', KEYS[1])
if not since then
    since = ARGV[4]
    redis.call('SET', KEYS[1], since, 'PX', lifetime)
end
local certain_from = ARGV[5] == '' and 0 or tonumber(since) + tonumber(ARGV[5])
for i = 1, #KEYS - 1 do
    local key, rank, id, time, entry = KEYS[i + 1], unpack(ARGV, 4 * i + 2, 4 * i + 5)
    local holds, ended = 1, ''
    if anyone_gone and redis.call('ZSCORE', ARGV[3], string.match(key, ':(%d+):%d+$')) then
        holds = 0
    elseif rank == '' then
        redis.call('SET', prefix .. id, entry, 'PX', lifetime)
    else
        local known_rank, known_id = read_link(key)
        local is_new = known_rank < tonumber(rank)
        if id == '' then
            if known_rank > tonumber(rank) then holds = 0 end
        elseif not is_new then
            if known_id ~= id then holds = 0 end
        elseif (known_rank == 0 or known_rank % 2 == 1) and tonumber(time) < certain_from then
            holds = 2
        end
        if holds == 1 then
            if known_id ~= id then ended = known_id end
            if is_new or id == '' then
                redis.call('SET', key, rank .. ':' .. id, 'PX', lifetime)
                if ended ~= '' then redis.call('DEL', prefix .. ended) end
                if id ~= '' then redis.call('SET', prefix .. id, entry, 'PX', lifetime) end
            end
        end
    end
    told[2 * i - 1], told[2 * i] = holds, ended
end
-- Last: after a first write, a store that is full would take all others.
redis.call('PEXPIRE', KEYS[1], lifetime)
return told
""",
)

#: link...; lifetime, prefix of entries, gone, (rank, id, entry)... -> an id, or nothing, for each
FIND_OR_SAVE: Final = Script(
    _LINK,
    """
local found = {}
local anyone_gone = redis.call('EXISTS', ARGV[3]) == 1
for i, key in ipairs(KEYS) do
    local rank, id, entry = ARGV[3 * i + 1], ARGV[3 * i + 2], ARGV[3 * i + 3]
    local known_rank, known_id = read_link(key)
    if anyone_gone and redis.call('ZSCORE', ARGV[3], string.match(key, ':(%d+):%d+$')) then
        found[i] = ''
    elseif known_rank == 0 then
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

# --- scripts about timelines: all keys are the author's ---------------------------------------------------------------

#: count, untold, gone; lifetime, author
OPEN_TIMELINE: Final = Script("""
if redis.call('EXISTS', KEYS[2]) == 1 or redis.call('ZSCORE', KEYS[3], ARGV[2]) then return end
redis.call('SET', KEYS[2], '', 'PX', ARGV[1])
if redis.call('EXISTS', KEYS[1]) == 0 then
    redis.call('SET', KEYS[1], 0, 'PX', ARGV[1])
    -- Beyond all numbers before it, which readers may remember: by the server's clock, in milliseconds, for which there
    -- is no command that the service may use.
    redis.call('SET', KEYS[1], redis.call('PEXPIRETIME', KEYS[1]), 'PX', ARGV[1])
end
""")

#: count, timeline, untold; cap, lifetime, how many to tell of, ids -> the count and the newest ids; nothing where none
#: is open
NOTE: Final = Script("""
if redis.call('EXISTS', KEYS[3]) == 0 then return false end
for i = 4, #ARGV do
    if not redis.call('LPOS', KEYS[2], ARGV[i]) then
        redis.call('LPUSH', KEYS[2], ARGV[i])
        redis.call('INCR', KEYS[1])
    end
end
redis.call('LTRIM', KEYS[2], 0, ARGV[1] - 1)
for i = 1, 3 do redis.call('PEXPIRE', KEYS[i], ARGV[2]) end
return {redis.call('GET', KEYS[1]), unpack(redis.call('LRANGE', KEYS[2], 0, ARGV[3] - 1))}
""")

#: counts, newest; author, count, the ids that came last (newest first), lifetime
ANNOUNCE: Final = Script("""
-- Those of two processes may come in any order.
if tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or 0) < tonumber(ARGV[2]) then
    redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
    redis.call('HSET', KEYS[2], ARGV[1], ARGV[2] .. ':' .. ARGV[3])
end
for i = 1, 2 do redis.call('PEXPIRE', KEYS[i], ARGV[4]) end
""")

#: (count, timeline)...; how far a feed has come in each -> for each: nothing, or how far it is now, ids that came since
#: The two have to be of one moment: an id that comes between them would be passed over, or another one.
SINCE: Final = Script("""
local news = {}
for i = 1, #KEYS / 2 do
    local now, seen = redis.call('GET', KEYS[2 * i - 1]) or '-', ARGV[i]
    if now == seen then
        news[i] = {}
    else
        local came = (tonumber(now) or 0) - (tonumber(seen) or 0)
        if came <= 0 or came >= redis.call('LLEN', KEYS[2 * i]) then came = 0 end
        news[i] = {now, unpack(redis.call('LRANGE', KEYS[2 * i], 0, came - 1))}
    end
end
return news
""")

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

-- Puts ids, oldest first, on top. What was there keeps its end, which reading moves.
local function push(feed, ids, cap, lifetime)
    local length
    for first = 1, #ids, 500 do
        length = redis.call('LPUSH', feed, unpack(ids, first, math.min(first + 499, #ids)))
    end
    if length == #ids then redis.call('PEXPIRE', feed, lifetime) end
    if length > cap then redis.call('LTRIM', feed, 0, cap - 1) end
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
local function merge(feed, ids, cap, lifetime)
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
    push(feed, all, cap, lifetime)
end

-- Ids oldest first, almost always newer than all that is there.
local function insert(feed, ids, cap, lifetime)
    if #ids == 0 then return end
    local head = redis.call('LINDEX', feed, 0)
    if not head or is_older(head, ids[1]) then
        push(feed, ids, cap, lifetime)
    elseif #ids > 1 or head ~= ids[1] then
        merge(feed, ids, cap, lifetime)
    end
end
"""

#: left, gone, feed...; prefix of readers, cap, lifetime, number of new ids, new ids (oldest first), replaced ids
PUSH: Final = Script(
    _FEED,
    """
local cap, lifetime, count = tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local ids = {unpack(ARGV, 5, 4 + count)}
local anyone_left, anyone_gone = redis.call('EXISTS', KEYS[1]) == 1, redis.call('EXISTS', KEYS[2]) == 1
local function takes(reader)
    return redis.call('EXISTS', ARGV[1] .. reader) == 1
        and not (anyone_left and redis.call('HEXISTS', KEYS[1], reader) == 1)
        and not (anyone_gone and redis.call('ZSCORE', KEYS[2], reader))
end
for i = 3, #KEYS do
    local feed = KEYS[i]
    if takes(string.match(feed, '%d+$')) then
        for j = 5 + count, #ARGV do
            -- Mostly near the head. Further down it stays, and is skipped by readers.
            if redis.call('LPOS', feed, ARGV[j], 'MAXLEN', 128) then redis.call('LREM', feed, 1, ARGV[j]) end
        end
        insert(feed, ids, cap, lifetime)
    end
end
""",
)

#: left, gone, reader...; author
JOIN: Final = Script("""
local anyone_left, anyone_gone = redis.call('EXISTS', KEYS[1]) == 1, redis.call('EXISTS', KEYS[2]) == 1
for i = 3, #KEYS do
    local reader = string.match(KEYS[i], '%d+$')
    if redis.call('EXISTS', KEYS[i]) == 1
        and not (anyone_left and redis.call('HEXISTS', KEYS[1], reader) == 1)
        and not (anyone_gone and redis.call('ZSCORE', KEYS[2], reader))
    then redis.call('HSETNX', KEYS[i], ARGV[1], 0) end
end
""")

#: follow, left, gone, reader; order, its lifetime, following?, follower, lifetime of left, author -> newest?
SET_FOLLOWING: Final = Script("""
if redis.call('ZSCORE', KEYS[3], ARGV[4]) then return 0 end
local known = redis.call('GET', KEYS[1])
if known and known > ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
if ARGV[3] == '1' then
    redis.call('HDEL', KEYS[2], ARGV[4])
else
    redis.call('HSET', KEYS[2], ARGV[4], 1)
    redis.call('PEXPIRE', KEYS[2], ARGV[5])
    -- Before the author's entries are looked for: none comes after that.
    redis.call('HDEL', KEYS[4], ARGV[6])
end
return 1
""")

#: follow, feed, gone, reader; order, author, timeline?, cap, lifetime, ids (oldest first)
MERGE: Final = Script(
    _FEED,
    """
if redis.call('GET', KEYS[1]) ~= ARGV[1] or redis.call('EXISTS', KEYS[4]) == 0 then return end
if redis.call('ZSCORE', KEYS[3], string.match(KEYS[2], '%d+$')) then return end
if ARGV[3] == '1' then redis.call('HSETNX', KEYS[4], ARGV[2], 0) end
insert(KEYS[2], {unpack(ARGV, 6)}, tonumber(ARGV[4]), ARGV[5])
""",
)

#: follow, feed; order, lifetime, ids
DROP: Final = Script(
    _FEED,
    """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return end
local gone, left = {}, {}
for i = 3, #ARGV do gone[ARGV[i]] = true end
for _, id in ipairs(redis.call('LRANGE', KEYS[2], 0, -1)) do
    if not gone[id] then left[#left + 1] = id end
end
write(KEYS[2], left)
if #left > 0 then redis.call('PEXPIRE', KEYS[2], ARGV[2]) end
""",
)

#: reader, feed, gone; builder, milliseconds to go on in -> what became of it
BEGIN: Final = Script("""
if redis.call('ZSCORE', KEYS[3], string.match(KEYS[1], '%d+$')) then return 'gone' end
local state = redis.call('HGET', KEYS[1], 'state')
if state then return state == 'built' and 'built' or 'busy' end
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('HSET', KEYS[1], 'state', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 'begun'
""")

#: reader, feed, left...; builder, milliseconds to go on in, cap, lifetime,
#: (author, timeline?, number of ids, ids (oldest first))... -> is it still the builder's?
FILL: Final = Script(
    _FEED,
    """
if redis.call('HGET', KEYS[1], 'state') ~= ARGV[1] then return 0 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
local reader, place = string.match(KEYS[1], '%d+$'), 5
for i = 3, #KEYS do
    local author, timeline, count = ARGV[place], ARGV[place + 1], tonumber(ARGV[place + 2])
    if redis.call('HEXISTS', KEYS[i], reader) == 0 then
        if timeline == '1' then redis.call('HSETNX', KEYS[1], author, 0) end
        insert(KEYS[2], {unpack(ARGV, place + 3, place + 2 + count)}, tonumber(ARGV[3]), ARGV[4])
    end
    place = place + 3 + count
end
return 1
""",
)

#: reader, feed; builder, lifetime -> was it still the builder's?
FINISH: Final = Script("""
if redis.call('HGET', KEYS[1], 'state') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'state', 'built')
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return 1
""")

#: reader, feed; builder
ABANDON: Final = Script("""
if redis.call('HGET', KEYS[1], 'state') == ARGV[1] then redis.call('DEL', KEYS[1], KEYS[2]) end
""")

#: reader, feed; cap, lifetime, (author, seen before, seen now, number of ids, ids (oldest first))...
TAKE: Final = Script(
    _FEED,
    """
local place = 3
while ARGV[place] do
    local author, count = ARGV[place], tonumber(ARGV[place + 3])
    -- Not if somebody else has taken them, or the reader has left the author meanwhile.
    if redis.call('HGET', KEYS[1], author) == ARGV[place + 1] then
        insert(KEYS[2], {unpack(ARGV, place + 4, place + 3 + count)}, tonumber(ARGV[1]), ARGV[2])
        redis.call('HSET', KEYS[1], author, ARGV[place + 2])
    end
    place = place + 4 + count
end
""",
)

#: reader, feed, counts, newest; cap, lifetime -> nothing if it is not built; else those of its timelines that have more
#: new ids than are told of: (author, how far it has come)...
OPEN: Final = Script(
    _FEED,
    """
local state, authors, seen = false, {}, {}
local fields = redis.call('HGETALL', KEYS[1])
for i = 1, #fields, 2 do
    if fields[i] == 'state' then
        state = fields[i + 1]
    else
        authors[#authors + 1], seen[#seen + 1] = fields[i], fields[i + 1]
    end
end
if state ~= 'built' then return false end

local function in_batches(all, call)
    for first = 1, #all, 1000 do call(first, math.min(first + 999, #all)) end
end

local moved, known, counts = {}, {}, {}
in_batches(authors, function(first, last)
    for i, count in ipairs(redis.call('HMGET', KEYS[3], unpack(authors, first, last))) do
        local place = first + i - 1
        if count ~= seen[place] then
            moved[#moved + 1], known[#known + 1], counts[#counts + 1] = authors[place], seen[place], count
        end
    end
end)
if #moved == 0 then return {} end

local ids, taken, behind = {}, {}, {}
local function take(author, from, to, told)
    local count, list = string.match(told or '', '^(%d+):(.*)$')
    local missing = count == to and tonumber(count) - (tonumber(from) or 0) or 0
    local last = {}
    for id in string.gmatch(list or '', '%d+') do
        if #last == missing then break end
        last[#last + 1] = id
    end
    if missing <= 0 or #last < missing then return false end
    for _, id in ipairs(last) do ids[#ids + 1] = id end
    taken[#taken + 1], taken[#taken + 2] = author, to
    return true
end
in_batches(moved, function(first, last)
    for i, told in ipairs(redis.call('HMGET', KEYS[4], unpack(moved, first, last))) do
        local place = first + i - 1
        if not take(moved[place], known[place], counts[place], told) then
            behind[#behind + 1], behind[#behind + 2] = moved[place], known[place]
        end
    end
end)
if #ids > 0 then
    table.sort(ids, is_older)
    insert(KEYS[2], ids, tonumber(ARGV[1]), ARGV[2])
    in_batches(taken, function(first, last) redis.call('HSET', KEYS[1], unpack(taken, first, last)) end)
end
return behind
""",
)

#: gone; user, lifetime
SET_GONE: Final = Script("""
redis.call('ZADD', KEYS[1], 0, ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
-- By the server's clock, for which there is no command that the service may use.
local forgotten_at = redis.call('PEXPIRETIME', KEYS[1])
redis.call('ZADD', KEYS[1], forgotten_at, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', forgotten_at - ARGV[2])
""")

#: feed; id, count -> the ids behind it, whether or not it is still there
READ_BEHIND: Final = Script(
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
READ_BEFORE: Final = Script(
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
