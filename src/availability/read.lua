#!lua flags=no-writes
-- Reads positions, and what live holds other than the caller's own hold of them. Never writes.
--
-- KEYS   checkpoint, holds, held, tick_units, ticks, due, then a bucket of rows each
-- ARGV   1 the caller's own hold ('': none)
--        2 packed: location, number of items, items, for each bucket
--        3 packed likewise: positions whose rows the caller has
-- Returns a packed head (1 and epoch, seq, age in us, 1 if in doubt; or 0: no checkpoint; then how
--        often rows changed while the checkpoint stood), the packed rows in the order of the items
--        (false: none), the units held in the same order, then of those in 3 (nothing: none are).
key.checkpoint, key.holds, key.held, key.tick_units, key.ticks, key.due = unpack(KEYS, 1, 6)
local own = ARGV[1]

local asked = cmsgpack.unpack(ARGV[2])
local values, names, held = read_rows(asked, 7), {}, {}
if redis.call('EXISTS', key.held) == 1 then
    add_names(names, asked)
    add_names(names, cmsgpack.unpack(ARGV[3]))
    held = live_held(names)
end
local packed = own ~= '' and redis.call('HGET', key.holds, own)
if packed then
    local hold = cmsgpack.unpack(packed)
    if hold.status == 'live' and hold.tick > tick_now then
        local lines, location = {}, string.match(own, '^%d+')
        for i = 1, #hold.lines, 2 do
            lines[location .. ':' .. hold.lines[i]] = hold.lines[i + 1]
        end
        for i, name in ipairs(held[1] and names or {}) do
            held[i] = math.max(0, held[i] - (lines[name] or 0))
        end
    end
end
local at = read_checkpoint()
local head = at and cmsgpack.pack(1, at.epoch, at.seq, at.age_us, at.doubt and 1 or 0)
    or cmsgpack.pack(0)
return { head .. cmsgpack.pack(at and at.loose or 0), values, held }
