#!lua
-- Lets a hold end later; never earlier.
--
-- KEYS   holds, due, held, tick_units, ticks
-- ARGV   1 hold  2 milliseconds that it lasts from now
-- Returns packed: extended, tick, lines; unknown; ledger; in_use; finished, status.
key.holds, key.due, key.held, key.tick_units, key.ticks = unpack(KEYS)
local field, ttl_ms = ARGV[1], tonumber(ARGV[2])

local hold = load_hold(field)
if not hold then return cmsgpack.pack('unknown') end
if hold.status == 'ledger' then return cmsgpack.pack('ledger') end
if not is_live(hold) then return cmsgpack.pack('finished', status_of(hold)) end
if is_in_use(hold, '') then return cmsgpack.pack('in_use') end
local tick = math.max(hold.tick, tick_after(ttl_ms))
if tick > hold.tick then
    remember_first(hold)
    count_lines(field, hold.tick, hold.lines, -1)
    hold.tick = tick
    count_lines(field, hold.tick, hold.lines, 1)
    save_hold(field, hold)
    redis.call('ZADD', key.due, hold.tick, field)
end
return cmsgpack.pack('extended', hold.tick, hold.lines)
