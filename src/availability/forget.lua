#!lua flags=allow-oom
-- Drops a checkpoint that cannot be true, if it still stands there.
--
-- KEYS   checkpoint, rebuild
-- ARGV   1, 2 epoch and seq where it stands
-- Returns 1 if it was dropped, else 0.
key.checkpoint, key.rebuild = unpack(KEYS)

local at = read_checkpoint()
if not at or at.epoch ~= tonumber(ARGV[1]) or at.seq ~= tonumber(ARGV[2]) then return 0 end
redis.call('DEL', key.checkpoint, key.rebuild)
return 1
