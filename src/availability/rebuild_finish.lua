#!lua
-- Sets the checkpoint after the last page of a rebuild. It is late until it stands at the head.
--
-- Where a checkpoint of a dead epoch stood further back, the entries since then are projected
-- again: they may have consumed holds that are still here.
--
-- KEYS   checkpoint, rebuild
-- ARGV   1 epoch  2 id of the rebuild  3, 4 location and item where the cursor stands
-- Returns 1 if it was set, else 0: then nothing was done.
key.checkpoint, key.rebuild = unpack(KEYS)

local there =
    redis.call('HMGET', key.rebuild, 'epoch', 'id', 'location', 'item', 'noted', 'lost_from')
for i = 1, 4 do
    if there[i] ~= ARGV[i] then return 0 end
end
local noted = tonumber(there[5])
local seq = math.min(noted, tonumber(there[6] or noted))
-- No rows that were read before are those that there are now.
redis.call('HSET', key.checkpoint, 'epoch', ARGV[1], 'seq', seq, 'head_at', 0, 'doubt', 0, 'loose',
    now_us)
redis.call('DEL', key.rebuild)
return 1
