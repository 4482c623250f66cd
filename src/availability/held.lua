#!lua flags=no-writes
-- Walks the positions that holds are about, and says what live holds of each there are. Never writes.
--
-- KEYS   held, tick_units, ticks, due
-- ARGV   1 cursor, '0' at first  2 about how many
-- Returns packed: next cursor ('0': the end), then name, units of each position.
key.held, key.tick_units, key.ticks, key.due = unpack(KEYS)

local page = redis.call('HSCAN', key.held, ARGV[1], 'COUNT', ARGV[2])
local names, found = {}, {}
for i = 1, #page[2], 2 do
    -- The others are of customers and channels.
    if string.find(page[2][i], ':', 1, true) then names[#names + 1] = page[2][i] end
end
for from = 1, #names, ARGUMENTS_MAX do
    local part = { unpack(names, from, math.min(#names, from + ARGUMENTS_MAX - 1)) }
    for i, units in ipairs(live_held(part)) do
        found[#found + 1], found[#found + 2] = part[i], units
    end
end
return cmsgpack.pack(page[1], found)
