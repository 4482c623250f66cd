#!lua
-- Takes a hold: all its lines in one step, or none of them.
--
-- KEYS   checkpoint, holds, due, graves, held, tick_units, ticks, taken, tokens, then a bucket of
--        rows each
-- ARGV   1 hold  2 fingerprint of the request  3 milliseconds it lasts
--        4 '1': lines that do not fit are left out  5 the epoch it must be ('': any)
--        6 the largest age of the checkpoint in us
--        7 packed: location, number of items, items, for each bucket
--        8 packed: place of the position in 7, units, units kept back, per cent kept back, for each
--        line  9 packed: `caps` and then `owners` of `capped`; '': nothing is capped
-- Returns packed: granted | replayed, tick, lines; key_reused; ledger; contended;
--        short, epoch, seq, now in us, lines (place, available); unusable, why; capped, what, most.
key.checkpoint, key.holds, key.due, key.graves, key.held, key.tick_units, key.ticks, key.taken,
    key.tokens = unpack(KEYS, 1, 9)
local field, fingerprint, ttl_ms = ARGV[1], ARGV[2], tonumber(ARGV[3])
local per_line, epoch, age_us_max = ARGV[4] == '1', ARGV[5], ARGV[6]
local asked, lines = cmsgpack.unpack(ARGV[7]), cmsgpack.unpack(ARGV[8])

purge()
local known = load_hold(field)
if known then
    if known.status == 'ledger' then return cmsgpack.pack('ledger') end
    if known.fingerprint ~= fingerprint then return cmsgpack.pack('key_reused') end
    local tick, granted = unpack(known.first or { known.tick, known.lines })
    return cmsgpack.pack('replayed', tick, granted)
end
local at = read_checkpoint()
local why = unusable(at, epoch, age_us_max)
if why then return cmsgpack.pack('unusable', why) end
local merged = merge_lines(lines, 1, #lines / 4, stock_of(asked, 10, at.epoch, ''))
if not merged then return cmsgpack.pack('unusable', 'row') end

local caps, owners
if ARGV[9] ~= '' then
    caps = cmsgpack.unpack(ARGV[9])
    owners = { caps[4], caps[5] }
    local what, most = capped(caps, owners, merged, {})
    if what then return cmsgpack.pack('capped', what, most) end
end
local fits, short, contended = judge(merged, {}, true)
local result = verdict(per_line, fits, short, contended)
if result == 'contended' then return cmsgpack.pack('contended') end
if result == 'short' then return cmsgpack.pack('short', at.epoch, at.seq, now_us, short) end
local hold = { status = 'live', fingerprint = fingerprint, tick = tick_after(ttl_ms),
    lines = hold_lines(fits), owners = owners }
save_hold(field, hold)
redis.call('ZADD', key.due, hold.tick, field)
count_lines(field, hold.owners, hold.tick, hold.lines, 1)
return cmsgpack.pack('granted', hold.tick, hold.lines)
