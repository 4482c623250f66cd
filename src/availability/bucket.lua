#!lua flags=no-writes
-- Reads a whole bucket of rows.
--
-- KEYS   checkpoint, buckets, the bucket
-- ARGV   1 its name in `buckets`
-- Returns a packed head (1 and epoch, seq; or 0: no checkpoint; then 1 if `buckets` names it), and
--        its fields: item % 64, packed row ...
key.checkpoint, key.buckets = unpack(KEYS, 1, 2)

local at = read_checkpoint()
local head = at and cmsgpack.pack(1, at.epoch, at.seq) or cmsgpack.pack(0)
local named = redis.call('SISMEMBER', key.buckets, ARGV[1])
return { head .. cmsgpack.pack(named), redis.call('HGETALL', KEYS[3]) }
