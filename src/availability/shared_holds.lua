-- What the scripts share that change holds and tokens.
--
-- A hold: status (live, consumed, released, expired, or ledger: it is kept there), fingerprint (of
-- the request, as text), tick (in which it ends), lines (item, units, item, units ...); token and
-- token_tick while a batch is about to consume it; first (tick, lines as they were granted) once
-- they changed; change (request, fingerprint, tick, lines of the last replacement or
-- extension); owners (names in `held` under which its units count for its customer and its channel,
-- '': for nobody) where these may hold so much and no more.

-- How much of what is due one call removes: 100,000 at once would block Redis for half a second.
local PURGE_MAX = 64
-- Tombstones stay for 60 minutes; those of holds that the ledger keeps for as long again as a hold
-- may live.
local GRAVE_TICKS = 36000

-- A packed table; nil if it is none.
local function unpack_table(packed)
    local ok, value = pcall(cmsgpack.unpack, packed or '')
    return ok and type(value) == 'table' and value or nil
end

local function load_hold(field)
    return unpack_table(redis.call('HGET', key.holds, field))
end

local function save_hold(field, hold)
    redis.call('HSET', key.holds, field, cmsgpack.pack(hold))
end

local function is_live(hold)
    return hold.status == 'live' and hold.tick > tick_now
end

-- What others are told of it.
local function status_of(hold)
    if hold.status == 'live' and hold.tick <= tick_now then return 'expired' end
    return hold.status
end

-- Whether a batch other than `token` is about to consume it.
local function is_in_use(hold, token)
    return hold.token and hold.token ~= token and hold.token_tick > tick_now
end

local function location_of(field)
    return string.match(field, '^%d+')
end

-- The units of lines: item, units ...
local function units_of(lines)
    local units = 0
    for i = 2, #lines, 2 do units = units + lines[i] end
    return units
end

-- Adds units to the totals of a name, or takes them away.
local function count_units(name, tick, units)
    if redis.call('HINCRBY', key.held, name, units) <= 0 then
        redis.call('HDEL', key.held, name)
    end
    local member = tick_field(name, tick)
    local there = redis.call('HINCRBY', key.tick_units, member, units)
    if there <= 0 then
        redis.call('HDEL', key.tick_units, member)
        redis.call('ZREM', key.ticks, member)
    elseif there == units then
        redis.call('ZADD', key.ticks, 0, member)
    end
end

-- Adds (sign 1) the lines of a hold to the totals or takes them away (sign -1).
local function count_lines(field, owners, tick, lines, sign)
    local location = location_of(field)
    for i = 1, #lines, 2 do
        count_units(location .. ':' .. lines[i], tick, sign * lines[i + 1])
    end
    for _, owner in ipairs(owners or {}) do
        if owner ~= '' then count_units(owner, tick, sign * units_of(lines)) end
    end
end

-- Keeps what was granted first, for replays, before it is changed.
local function remember_first(hold)
    hold.first = hold.first or { hold.tick, hold.lines }
end

-- Ends a hold; what a replay needs stays.
local function bury(field, hold, status)
    if hold.status == 'live' then
        count_lines(field, hold.owners, hold.tick, hold.lines, -1)
        redis.call('ZREM', key.due, field)
    end
    hold.status, hold.token, hold.token_tick = status, nil, nil
    save_hold(field, hold)
    redis.call('ZADD', key.graves, tick_now + GRAVE_TICKS, field)
end

-- What is left of the claims at a position without those of `token` and of batches that are gone.
local function other_claims(packed, token)
    local entries, rest = unpack_table(packed) or {}, {}
    for i = 1, #entries, 5 do
        if entries[i] ~= token and entries[i + 1] > tick_now then
            for at = i, i + 4 do rest[#rest + 1] = entries[at] end
        end
    end
    return rest
end

-- Units that these claims take. What a hold covers counts as held already, for as long as it lives.
local function claimed_units(entries)
    local units = 0
    for i = 1, #entries, 5 do
        units = units + entries[i + 2]
        if entries[i + 4] > tick_now then units = units - entries[i + 3] end
    end
    return units
end

-- Calls a command on a key with many arguments.
local function call_with(command, name, arguments)
    for from = 1, #arguments, ARGUMENTS_MAX do
        redis.call(command, name,
            unpack(arguments, from, math.min(#arguments, from + ARGUMENTS_MAX - 1)))
    end
end

-- Stores the claims at some positions: name -> entries.
local function save_claims(claims)
    local there, gone = {}, {}
    for name, entries in pairs(claims) do
        if #entries == 0 then
            gone[#gone + 1] = name
        else
            there[#there + 1], there[#there + 2] = name, cmsgpack.pack(entries)
        end
    end
    call_with('HDEL', key.taken, gone)
    call_with('HSET', key.taken, there)
end

-- Gives back what a batch took, and the holds that it did not consume.
local function drop_token(token)
    redis.call('ZREM', key.due, 't' .. token)
    local took = unpack_table(redis.call('HGET', key.tokens, token))
    redis.call('HDEL', key.tokens, token)
    if not took then return end
    local names, fields = unpack(took)
    local claims = {}
    for from = 1, #names, ARGUMENTS_MAX do
        local part = { unpack(names, from, math.min(#names, from + ARGUMENTS_MAX - 1)) }
        for i, entries in ipairs(redis.call('HMGET', key.taken, unpack(part))) do
            claims[part[i]] = other_claims(entries, token)
        end
    end
    save_claims(claims)
    for _, field in ipairs(fields) do
        local hold = load_hold(field)
        if hold and hold.token == token then
            hold.token, hold.token_tick = nil, nil
            save_hold(field, hold)
        end
    end
end

-- Removes some of what is due.
local function purge()
    local due = redis.call('ZRANGEBYSCORE', key.due, '-inf', tick_now, 'LIMIT', 0, PURGE_MAX)
    for _, member in ipairs(due) do
        if string.sub(member, 1, 1) == 't' then
            drop_token(string.sub(member, 2))
        else
            redis.call('ZREM', key.due, member)
            local hold = load_hold(member)
            if hold and hold.status == 'live' then bury(member, hold, 'expired') end
        end
    end
    if #due == PURGE_MAX then return end
    local graves = redis.call('ZRANGEBYSCORE', key.graves, '-inf', tick_now, 'LIMIT', 0,
        PURGE_MAX - #due)
    if #graves > 0 then
        redis.call('HDEL', key.holds, unpack(graves))
        redis.call('ZREM', key.graves, unpack(graves))
    end
end
