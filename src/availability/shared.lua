-- What all scripts share: time, checkpoint, rows, holds in total, what is available.
--
-- The scripts of one partition work on keys of one hash tag, all given in KEYS. Each fills `key`
-- with those that it was given. Quantities, sequence numbers and times in microseconds stay below
-- 2^53, so the numbers of Lua, which are doubles, hold them exactly.
--
--   checkpoint   hash   epoch, seq: everything up to here is projected; head_at: when it last stood
--                       at the head (us); doubt: 1 while Redis' clock and the database's disagree;
--                       loose: changes with rows that were written while it stood
--   rebuild      hash   epoch, id, noted (head before the first page), location and item (cursor),
--                       lost_from (where a dead checkpoint stood)
--   r:<location>:<item / 64>
--                hash   item % 64 -> epoch, seq, sellable, reserved: a bucket of rows
--   buckets      set    the names of all buckets: <location>:<item / 64>
--   holds        hash   <location>.<digest> -> a hold, live or a tombstone
--   due          zset   live holds by the tick in which they end, and tokens ('t' before their
--                       name) by theirs
--   graves       zset   tombstones by the tick in which they are removed
--   held         hash   <location>:<item> -> units of all holds in `due`; <location>c<digest> and
--                       <location>n<channel> -> those of a customer and of a channel, where these
--                       are capped
--   tick_units   hash   <name in held>:<tick> -> units of holds that end in this tick
--   ticks        zset   its fields, so that those of one name are found in order
--   taken        hash   <location>:<item> -> what batches are about to claim: token, tick, units,
--                       covered, covered until ...
--   tokens       hash   token -> the positions and the holds that it took

local key = {}
local clock = redis.call('TIME')
local now_us = clock[1] * 1000000 + clock[2]
-- A hold of a tick is free from the beginning of that tick on.
local TICK_US = 100000
local tick_now = math.floor(now_us / TICK_US)
-- From so many fields on a bucket is read as a whole.
local FIELDS_DENSE = 12
-- What one call of a command is given at most: the stack of Lua has an end.
local ARGUMENTS_MAX = 1000

-- The tick in which something ends that lasts for `ms` from now.
local function tick_after(ms)
    return math.ceil((now_us + ms * 1000) / TICK_US)
end

-- nil: unknown.
local function read_checkpoint()
    local at = redis.call('HMGET', key.checkpoint, 'epoch', 'seq', 'head_at', 'doubt', 'loose')
    if not (at[1] and at[2] and at[3]) then return nil end
    local age_us = now_us - tonumber(at[3])
    -- A clock that went back says nothing of the age.
    return { epoch = tonumber(at[1]), seq = tonumber(at[2]), age_us = age_us,
        doubt = at[4] == '1' or age_us < 0, loose = tonumber(at[5] or 0) }
end

-- Why nothing may be promised at this checkpoint; nil: it may. An `epoch` of '' is any.
local function unusable(at, epoch, age_us_max)
    if not at then return 'unknown' end
    if epoch ~= '' and tonumber(epoch) ~= at.epoch then return 'epoch' end
    if at.doubt then return 'doubt' end
    if at.age_us > tonumber(age_us_max) then return 'late' end
    return nil
end

-- The numbers of a packed row; nil if it is none.
local function unpack_row(packed)
    if not packed then return nil end
    local ok, epoch, seq, sellable, reserved = pcall(cmsgpack.unpack, packed)
    if not ok or type(reserved) ~= 'number' then return nil end
    return epoch, seq, sellable, reserved
end

-- The packed rows of some fields of a bucket, in their order (false: none).
local function bucket_rows(bucket, fields)
    -- Each field that is looked up walks over half of a bucket.
    if #fields < FIELDS_DENSE then return redis.call('HMGET', bucket, unpack(fields)) end
    local all, by_field, rows = redis.call('HGETALL', bucket), {}, {}
    for i = 1, #all, 2 do by_field[tonumber(all[i]) or all[i]] = all[i + 1] end
    for i, field in ipairs(fields) do rows[i] = by_field[field] or false end
    return rows
end

-- Adds the names of positions: location, number of items, items, for each bucket.
local function add_names(names, asked)
    local at = 1
    while asked[at] do
        local location, count = asked[at], asked[at + 1]
        for i = at + 2, at + 1 + count do names[#names + 1] = location .. ':' .. asked[i] end
        at = at + 2 + count
    end
end

-- Reads packed rows (false: none). `asked` lists buckets, whose keys are KEYS[first], KEYS[first + 1]
-- ...: location, number of items, items.
local function read_rows(asked, first)
    local values, at = {}, 1
    while asked[at] do
        local count = asked[at + 1]
        if count == 1 then
            values[#values + 1] = redis.call('HGET', KEYS[first], asked[at + 2] % 64)
        else
            local fields = {}
            for i = 1, count do fields[i] = asked[at + 1 + i] % 64 end
            for _, value in ipairs(bucket_rows(KEYS[first], fields)) do
                values[#values + 1] = value
            end
        end
        at, first = at + 2 + count, first + 1
    end
    return values
end

-- A field of `tick_units`: fixed width, so that those of a name are ordered by their tick.
local function tick_field(name, tick)
    return string.format('%s:%012d', name, tick)
end

-- The sum of fields of a hash.
local function sum_fields(hash, fields)
    local sum = 0
    for from = 1, #fields, ARGUMENTS_MAX do
        local part = { unpack(fields, from, math.min(#fields, from + ARGUMENTS_MAX - 1)) }
        for _, units in ipairs(redis.call('HMGET', hash, unpack(part))) do
            sum = sum + tonumber(units or 0)
        end
    end
    return sum
end

-- Units of live holds under each of the names in `held`. What has expired does not count, purged or
-- not.
local function live_held(names)
    local held = redis.call('HMGET', key.held, unpack(names))
    local first_due = redis.call('ZRANGE', key.due, 0, 0, 'WITHSCORES')[2]
    local some_expired = first_due and tonumber(first_due) <= tick_now
    for i, name in ipairs(names) do
        local units = tonumber(held[i] or 0)
        if some_expired and units > 0 then
            local expired = redis.call('ZRANGEBYLEX', key.ticks, '[' .. name .. ':',
                '[' .. tick_field(name, tick_now))
            units = units - sum_fields(key.tick_units, expired)
        end
        held[i] = math.max(0, units)
    end
    return held
end

-- The same arithmetic as `stock::policy::available`; fmod, because % of Lua 5.1 rounds.
local function available(sellable, reserved, held, buffer_units, buffer_percent)
    local stock = math.max(0, sellable)
    local rest = math.fmod(stock, 100)
    local share = (stock - rest) / 100 * buffer_percent + math.ceil(rest * buffer_percent / 100)
    return math.max(0, sellable - reserved - held - buffer_units - share)
end
