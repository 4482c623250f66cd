#!lua
-- Projects a page of positions and moves the cursor over it, if that stands where it is expected.
--
-- KEYS   checkpoint, rebuild, buckets, then a bucket of rows each
-- ARGV   1 epoch  2 id of the rebuild  3, 4 location and item where the cursor stands
--        5, 6 location and item where it goes, the last of the page
--        7 packed: location, number of rows, and for each item, seq, sellable, reserved; for each
--        bucket
-- Returns 1 if it was moved, else 0: then nothing was done.
key.checkpoint, key.rebuild, key.buckets = unpack(KEYS, 1, 3)

local there = redis.call('HMGET', key.rebuild, 'epoch', 'id', 'location', 'item')
for i = 1, 4 do
    if there[i] ~= ARGV[i] then return 0 end
end
write_rows(cmsgpack.unpack(ARGV[7]), 4, tonumber(ARGV[1]))
redis.call('HSET', key.rebuild, 'location', ARGV[5], 'item', ARGV[6])
return 1
