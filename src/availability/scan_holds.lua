#!lua
-- Walks the holds; one that nobody would ever remove is put back in line.
--
-- KEYS   holds, due, graves
-- ARGV   1 cursor, '0' at first  2 about how many
-- Returns packed: next cursor ('0': the end), how many were out of line, field, tick, lines of each
--        live hold.
key.holds, key.due, key.graves = unpack(KEYS)

local page = redis.call('HSCAN', key.holds, ARGV[1], 'COUNT', ARGV[2])
local live, mended = {}, 0
for i = 1, #page[2], 2 do
    local field = page[2][i]
    local hold = unpack_table(page[2][i + 1])
    if not (hold and hold.status) then
        redis.call('HDEL', key.holds, field)
        mended = mended + 1
    elseif hold.status == 'live' then
        if tonumber(redis.call('ZSCORE', key.due, field) or -1) ~= hold.tick then
            redis.call('ZADD', key.due, hold.tick, field)
            mended = mended + 1
        end
        live[#live + 1], live[#live + 2], live[#live + 3] = field, hold.tick, hold.lines
    elseif not redis.call('ZSCORE', key.graves, field) then
        redis.call('ZADD', key.graves, tick_now + GRAVE_TICKS, field)
        mended = mended + 1
    end
end
return cmsgpack.pack(page[1], mended, live)
