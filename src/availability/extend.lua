#!lua
-- Lets a hold end later; never earlier.
--
-- KEYS   holds, due, held, tick_units, ticks
-- ARGV   1 hold  2 the request's key  3 its fingerprint  4 milliseconds that it lasts from now
-- Returns packed: extended, tick, lines; unknown; ledger; key_reused; in_use; finished, status.
key.holds, key.due, key.held, key.tick_units, key.ticks = unpack(KEYS)
local field, request, fingerprint, ttl_ms = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])

local hold = load_hold(field)
if not hold then return cmsgpack.pack('unknown') end
if hold.status == 'ledger' then return cmsgpack.pack('ledger') end
if hold.change and hold.change[1] == request then
    if hold.change[2] ~= fingerprint then return cmsgpack.pack('key_reused') end
    return cmsgpack.pack('extended', hold.change[3], hold.change[4])
end
if not is_live(hold) then return cmsgpack.pack('finished', status_of(hold)) end
if is_in_use(hold, '') then return cmsgpack.pack('in_use') end
local tick = math.max(hold.tick, tick_after(ttl_ms))
remember_first(hold)
if tick > hold.tick then
    count_lines(field, hold.owners, hold.tick, hold.lines, -1)
    hold.tick = tick
    count_lines(field, hold.owners, hold.tick, hold.lines, 1)
    redis.call('ZADD', key.due, hold.tick, field)
end
hold.change = { request, fingerprint, hold.tick, hold.lines }
save_hold(field, hold)
return cmsgpack.pack('extended', hold.tick, hold.lines)
