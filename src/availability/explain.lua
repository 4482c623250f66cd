#!lua flags=no-writes
-- Names the live holds of one position.
--
-- KEYS   holds, due, ticks
-- ARGV   1 position, <location>:<item>  2 how many at most
-- Returns packed: field, tick, units of the position, of each hold.
key.holds, key.due, key.ticks = unpack(KEYS)
local name, holds_max = ARGV[1], tonumber(ARGV[2])
local location, item = string.match(name, '^(%d+):(-?%d+)$')
item = tonumber(item)

local found, looked_at = {}, 0
local members = redis.call('ZRANGEBYLEX', key.ticks, '[' .. name .. ':', '(' .. name .. ';',
    'LIMIT', 0, holds_max)
for _, member in ipairs(members) do
    local tick = tonumber(string.sub(member, #name + 2))
    local fields = {}
    if tick > tick_now and looked_at < holds_max then
        fields = redis.call('ZRANGEBYSCORE', key.due, tick, tick, 'LIMIT', 0,
            holds_max - looked_at)
        looked_at = looked_at + #fields
    end
    for _, field in ipairs(fields) do
        local hold = location_of(field) == location and load_hold(field)
        local lines, units = hold and is_live(hold) and hold.lines or {}, 0
        for i = 1, #lines, 2 do
            if lines[i] == item then units = units + lines[i + 1] end
        end
        if units > 0 then
            found[#found + 1], found[#found + 2], found[#found + 3] = field, tick, units
        end
    end
end
return cmsgpack.pack(found)
