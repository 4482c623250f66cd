#!lua
-- Counts the holds under one name in `held` again, from their details.
--
-- KEYS   holds, due, held, tick_units, ticks
-- ARGV   1 the name  2 packed: ticks in which holds of it end that are known
--        3 how many holds may be looked at  4 '1': the totals are put right
-- Returns how many totals are wrong; or -1: there are too many holds to look at in one step.
key.holds, key.due, key.held, key.tick_units, key.ticks = unpack(KEYS)
local name, holds_max, mends = ARGV[1], tonumber(ARGV[3]), ARGV[4] == '1'
local location = location_of(name)
local item = tonumber(string.match(name, '^%d+:(-?%d+)$'))

-- Units of a hold that count under this name: of its item, or all if it is an owner's.
local function units_here(hold)
    if not item then
        for _, owner in ipairs(hold.owners or {}) do
            if owner == name then return units_of(hold.lines) end
        end
        return 0
    end
    local units = 0
    for i = 1, #hold.lines, 2 do
        if hold.lines[i] == item then units = units + hold.lines[i + 1] end
    end
    return units
end

local counted, holds = {}, 0
for _, tick in ipairs(cmsgpack.unpack(ARGV[2])) do counted[tick] = 0 end
local members = redis.call('ZRANGEBYLEX', key.ticks, '[' .. name .. ':', '(' .. name .. ';')
for _, member in ipairs(members) do counted[tonumber(string.sub(member, #name + 2))] = 0 end
for tick in pairs(counted) do holds = holds + redis.call('ZCOUNT', key.due, tick, tick) end
if holds > holds_max or #members > holds_max then return -1 end

local wrong, total = 0, 0
for tick in pairs(counted) do
    for _, field in ipairs(redis.call('ZRANGEBYSCORE', key.due, tick, tick)) do
        local hold = location_of(field) == location and load_hold(field)
        if hold and hold.status == 'live' then
            counted[tick] = counted[tick] + units_here(hold)
        end
    end
    total = total + counted[tick]
    local member = tick_field(name, tick)
    local there = tonumber(redis.call('HGET', key.tick_units, member) or 0)
    local listed = redis.call('ZSCORE', key.ticks, member)
    if there ~= counted[tick] or counted[tick] > 0 and not listed then wrong = wrong + 1 end
    if mends and counted[tick] == 0 then
        redis.call('HDEL', key.tick_units, member)
        redis.call('ZREM', key.ticks, member)
    elseif mends then
        redis.call('HSET', key.tick_units, member, counted[tick])
        redis.call('ZADD', key.ticks, 0, member)
    end
end
if tonumber(redis.call('HGET', key.held, name) or 0) ~= total then wrong = wrong + 1 end
if mends and total == 0 then
    redis.call('HDEL', key.held, name)
elseif mends then
    redis.call('HSET', key.held, name, total)
end
return wrong
