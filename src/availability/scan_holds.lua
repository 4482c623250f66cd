#!lua
-- Walks the holds, and finds those that nobody would ever remove.
--
-- KEYS   holds, due, graves
-- ARGV   1 cursor, '0' at first  2 about how many  3 '1': they are put back in line
-- Returns packed: next cursor ('0': the end), how many are out of line, field, tick, lines, owners
--        of each live hold.
key.holds, key.due, key.graves = unpack(KEYS)

local mends = ARGV[3] == '1'
local page = redis.call('HSCAN', key.holds, ARGV[1], 'COUNT', ARGV[2])
local live, lost = {}, 0
for i = 1, #page[2], 2 do
    local field = page[2][i]
    local hold = unpack_table(page[2][i + 1])
    if not (hold and hold.status) then
        if mends then redis.call('HDEL', key.holds, field) end
        lost = lost + 1
    elseif hold.status == 'live' then
        if tonumber(redis.call('ZSCORE', key.due, field) or -1) ~= hold.tick then
            if mends then redis.call('ZADD', key.due, hold.tick, field) end
            lost = lost + 1
        end
        for _, value in ipairs({ field, hold.tick, hold.lines, hold.owners or {} }) do
            live[#live + 1] = value
        end
    elseif not redis.call('ZSCORE', key.graves, field) then
        if mends then redis.call('ZADD', key.graves, tick_now + GRAVE_TICKS, field) end
        lost = lost + 1
    end
end
return cmsgpack.pack(page[1], lost, live)
