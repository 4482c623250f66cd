#!lua flags=allow-oom
-- Drops a checkpoint or a rebuild that cannot be true, if it still stands there.
--
-- KEYS   checkpoint, rebuild
-- ARGV   1 epoch of the checkpoint or the rebuild  2 seq of the checkpoint ('': the rebuild is meant)
--        3 id of the rebuild
-- Returns 1 if it was dropped, else 0.
key.checkpoint, key.rebuild = unpack(KEYS)
local epoch, seq, id = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]

if seq then
    local at = read_checkpoint()
    if not at or at.epoch ~= epoch or at.seq ~= seq then return 0 end
    redis.call('DEL', key.checkpoint)
else
    local there = redis.call('HMGET', key.rebuild, 'epoch', 'id')
    if tonumber(there[1] or -1) ~= epoch or there[2] ~= id then return 0 end
end
redis.call('DEL', key.rebuild)
return 1
