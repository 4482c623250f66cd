#!lua flags=no-writes
-- Reads where the projection of a partition stands.
--
-- KEYS   checkpoint, rebuild
-- Returns packed: now in us; 1 and epoch, seq, age in us, 1 if in doubt; or 0: no checkpoint; then
--        1 and epoch, id, head before the first page, cursor of a rebuild; or 0: none.
key.checkpoint, key.rebuild = unpack(KEYS)

local at = read_checkpoint()
local head = at and cmsgpack.pack(1, at.epoch, at.seq, at.age_us, at.doubt and 1 or 0)
    or cmsgpack.pack(0)
local rebuild = redis.call('HMGET', key.rebuild, 'epoch', 'id', 'noted', 'location', 'item')
local under_way = rebuild[1] and cmsgpack.pack(1, tonumber(rebuild[1]), rebuild[2],
    tonumber(rebuild[3]), tonumber(rebuild[4]), tonumber(rebuild[5])) or cmsgpack.pack(0)
return cmsgpack.pack(now_us) .. head .. under_way
