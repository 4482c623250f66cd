#!lua
-- Replaces rows of a bucket that are still what they were when they were found to be wrong.
--
-- KEYS   checkpoint, buckets, the bucket
-- ARGV   1 its name in `buckets`, then for each row: field, what it is ('': absent), what it
--        becomes ('': it goes)
-- Returns how many were replaced.
key.checkpoint, key.buckets = unpack(KEYS, 1, 2)
local bucket = KEYS[3]
local replaced = 0

for i = 2, #ARGV, 3 do
    local field, before, after = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    if (redis.call('HGET', bucket, field) or '') == before then
        if after == '' then
            redis.call('HDEL', bucket, field)
        else
            redis.call('HSET', bucket, field, after)
        end
        replaced = replaced + 1
    end
end
if redis.call('EXISTS', bucket) == 1 then
    redis.call('SADD', key.buckets, ARGV[1])
else
    redis.call('SREM', key.buckets, ARGV[1])
end
if replaced > 0 and redis.call('EXISTS', key.checkpoint) == 1 then rows_changed() end
return replaced
