#!lua
-- Projects a page of positions and moves the cursor over it, if that stands where it is expected.
--
-- KEYS   checkpoint, rebuild, buckets, holds, due, graves, held, tick_units, ticks, then a bucket of
--        rows each
-- ARGV   1 epoch  2 id of the rebuild  3, 4 location and item where the cursor stands
--        5, 6 location and item where it goes, the last of the page
--        7 packed: location, number of rows, and for each item, seq, sellable, reserved; for each
--        bucket
--        8 packed: holds that the ledger keeps
-- Returns 1 if it was moved, else 0: then nothing was done.
key.checkpoint, key.rebuild, key.buckets, key.holds, key.due, key.graves, key.held, key.tick_units,
    key.ticks = unpack(KEYS, 1, 9)

local there = redis.call('HMGET', key.rebuild, 'epoch', 'id', 'location', 'item')
for i = 1, 4 do
    if there[i] ~= ARGV[i] then return 0 end
end
write_rows(cmsgpack.unpack(ARGV[7]), 10, tonumber(ARGV[1]))
mark_ledger_holds(cmsgpack.unpack(ARGV[8]))
redis.call('HSET', key.rebuild, 'location', ARGV[5], 'item', ARGV[6])
return 1
