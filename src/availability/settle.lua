#!lua flags=allow-oom
-- Ends a batch: drops its token and what it consumed, projects the rows it touched, and moves the
-- checkpoint over it if that stands right before it. Twice does no harm.
--
-- KEYS   checkpoint, rebuild, buckets, holds, due, graves, held, tick_units, ticks, taken, tokens,
--        then a bucket of rows each
-- ARGV   1 epoch  2 seq before the batch  3 seq after it ('': the checkpoint stays)
--        4 token ('': none)  5 time in us before the batch began ('': unknown)
--        6 packed, for each bucket: location, number of rows, and for each item, seq, sellable,
--          reserved
--        7 packed: hold, item (0: all of it) ... that was consumed
--        8 packed: holds that the ledger keeps
-- Returns 1 if the checkpoint was moved, else 0.
key.checkpoint, key.rebuild, key.buckets, key.holds, key.due, key.graves, key.held, key.tick_units,
    key.ticks, key.taken, key.tokens = unpack(KEYS, 1, 11)
local epoch, from, to, token = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local before_us, rows = tonumber(ARGV[5]), cmsgpack.unpack(ARGV[6])

if token ~= '' then drop_token(token) end
consume(cmsgpack.unpack(ARGV[7]))
mark_ledger_holds(cmsgpack.unpack(ARGV[8]))
local at = read_checkpoint()
if at and at.epoch > epoch then return 0 end
if at and at.epoch < epoch then
    bury_checkpoint(at)
    at = nil
end
write_rows(rows, 12, epoch)
if not (at and to and at.seq == from) then
    if at and #rows > 0 then rows_changed() end
    return 0
end
redis.call('HSET', key.checkpoint, 'seq', to)
if before_us then stamp(before_us) end
return 1
