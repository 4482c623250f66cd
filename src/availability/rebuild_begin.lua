#!lua
-- Begins to project a whole partition anew, unless that is under way or not needed.
--
-- KEYS   checkpoint, rebuild
-- ARGV   1 epoch  2 id of the rebuild  3 head of the ledger before its first page is read
-- Returns 1 if it began, else 0: read the state again.
key.checkpoint, key.rebuild = unpack(KEYS)
local epoch, id, noted = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3])

local at = read_checkpoint()
if at and at.epoch >= epoch then return 0 end
local under_way = tonumber(redis.call('HGET', key.rebuild, 'epoch') or 0)
if under_way >= epoch then return 0 end
if at then bury_checkpoint(at) end
redis.call('HSET', key.rebuild, 'epoch', epoch, 'id', id, 'noted', noted, 'location', 0, 'item', 0)
return 1
