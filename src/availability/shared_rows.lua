-- What the scripts share that project the ledger; needs shared_holds.lua where holds are touched.

-- The name of a bucket in `buckets`.
local function bucket_name(location, item)
    return location .. ':' .. math.floor(item / 64)
end

-- Writes rows of an epoch that are newer than those there are. `rows` lists buckets, whose keys are
-- KEYS[first],
-- KEYS[first + 1] ...: location, number of rows, and for each item, seq, sellable, reserved.
local function write_rows(rows, first, epoch)
    local at = 1
    while rows[at] do
        local location, count, fields = rows[at], rows[at + 1], {}
        for i = 1, count do fields[i] = rows[at + 4 * i - 2] % 64 end
        local there, written = redis.call('HMGET', KEYS[first], unpack(fields)), {}
        for i = 1, count do
            local seq, sellable, reserved = unpack(rows, at + 4 * i - 1, at + 4 * i + 1)
            local old_epoch, old_seq = unpack_row(there[i])
            if not old_epoch or old_epoch < epoch or old_epoch == epoch and old_seq < seq then
                written[#written + 1] = fields[i]
                written[#written + 1] = cmsgpack.pack(epoch, seq, sellable, reserved)
            end
        end
        if #written > 0 and redis.call('HSET', KEYS[first], unpack(written)) > 0 then
            redis.call('SADD', key.buckets, bucket_name(location, rows[at + 2]))
        end
        at, first = at + 2 + 4 * count, first + 1
    end
end

-- Says that rows were written while the checkpoint stood: whoever has read them reads them again.
local function rows_changed()
    redis.call('HINCRBY', key.checkpoint, 'loose', 1)
end

-- A checkpoint of a dead epoch: its rows are about to be replaced, so it says nothing any more.
-- Where it stood is kept, because holds that were consumed after it may still be here.
local function bury_checkpoint(at)
    redis.call('HSET', key.rebuild, 'lost_from', at.seq)
    redis.call('DEL', key.checkpoint)
end

-- Drops what the ledger says was consumed. `consumed`: hold, item (0: all of it) ...
local function consume(consumed)
    for i = 1, #consumed, 2 do
        local field, item = consumed[i], consumed[i + 1]
        local hold = load_hold(field)
        if hold and hold.status == 'live' and item ~= 0 then
            local rest, line = {}, {}
            for at = 1, #hold.lines, 2 do
                local to = hold.lines[at] == item and line or rest
                to[#to + 1], to[#to + 2] = hold.lines[at], hold.lines[at + 1]
            end
            if #rest == 0 then
                bury(field, hold, 'consumed')
            elseif #line > 0 then
                remember_first(hold)
                count_lines(field, hold.owners, hold.tick, line, -1)
                hold.lines = rest
                save_hold(field, hold)
            end
        elseif hold and hold.status ~= 'ledger' and hold.status ~= 'consumed' and item == 0 then
            bury(field, hold, 'consumed')
        end
    end
end

-- Says of holds that the ledger keeps them.
local function mark_ledger_holds(fields)
    for _, field in ipairs(fields) do
        bury(field, load_hold(field) or {}, 'ledger')
        redis.call('ZADD', key.graves, tick_now + 2 * GRAVE_TICKS, field)
    end
end

-- Remembers when everything up to the checkpoint was the whole ledger.
local function stamp(at_us)
    local before = tonumber(redis.call('HGET', key.checkpoint, 'head_at') or 0)
    -- A stamp in the future is from a clock that went back since.
    if before < at_us or before > now_us then
        redis.call('HSET', key.checkpoint, 'head_at', at_us)
    end
end
