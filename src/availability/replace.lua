#!lua
-- Gives a hold other lines, all in one step; its own old lines do not count against it.
--
-- KEYS   as hold.lua
-- ARGV   1 hold  2 the request's key  3 its fingerprint
--        4 milliseconds that it lasts from now ('': it ends when it would have)
--        5 '1': lines that do not fit are left out  6 the epoch it must be ('': any)
--        7 the largest age of the checkpoint in us  8, 9 as 7 and 8 of hold.lua
--        10 as 9 of hold.lua; its owners stay
-- Returns packed: what hold.lua returns; or unknown; in_use; finished, status.
key.checkpoint, key.holds, key.due, key.graves, key.held, key.tick_units, key.ticks, key.taken,
    key.tokens = unpack(KEYS, 1, 9)
local field, request, fingerprint, ttl_ms = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local per_line, epoch, age_us_max = ARGV[5] == '1', ARGV[6], ARGV[7]
local asked, lines = cmsgpack.unpack(ARGV[8]), cmsgpack.unpack(ARGV[9])

purge()
local hold = load_hold(field)
if not hold then return cmsgpack.pack('unknown') end
if hold.status == 'ledger' then return cmsgpack.pack('ledger') end
if hold.change and hold.change[1] == request then
    if hold.change[2] ~= fingerprint then return cmsgpack.pack('key_reused') end
    return cmsgpack.pack('replayed', hold.change[3], hold.change[4])
end
if not is_live(hold) then return cmsgpack.pack('finished', status_of(hold)) end
if is_in_use(hold, '') then return cmsgpack.pack('in_use') end
local at = read_checkpoint()
local why = unusable(at, epoch, age_us_max)
if why then return cmsgpack.pack('unusable', why) end
local merged = merge_lines(lines, 1, #lines / 4, stock_of(asked, 10, at.epoch, ''))
if not merged then return cmsgpack.pack('unusable', 'row') end

local own = units_by_name(location_of(field), hold.lines)
if ARGV[10] ~= '' then
    local what, most = capped(cmsgpack.unpack(ARGV[10]), hold.owners or {}, merged, own)
    if what then return cmsgpack.pack('capped', what, most) end
end
local fits, short, contended = judge(merged, own, true)
local result = verdict(per_line, fits, short, contended)
if result == 'contended' then return cmsgpack.pack('contended') end
if result == 'short' then return cmsgpack.pack('short', at.epoch, at.seq, now_us, short) end
remember_first(hold)
count_lines(field, hold.owners, hold.tick, hold.lines, -1)
hold.lines = hold_lines(fits)
if ttl_ms then hold.tick = tick_after(ttl_ms) end
hold.change = { request, fingerprint, hold.tick, hold.lines }
save_hold(field, hold)
redis.call('ZADD', key.due, hold.tick, field)
count_lines(field, hold.owners, hold.tick, hold.lines, 1)
return cmsgpack.pack('granted', hold.tick, hold.lines)
