#!lua flags=allow-oom
-- Moves the checkpoint, together with the rows that it covers, if it stands where it is expected.
--
-- KEYS   as settle.lua
-- ARGV   1, 2 epoch and seq where it stands  3 seq where it goes
--        4 time in us at which the ledger was asked for its head, if that is 3 ('': it is not)
--        5 clock of the database in us, read after that ('': unknown)
--        6, 7, 8 as settle.lua
-- Returns 1 if it was moved, else 0: then nothing was done.
key.checkpoint, key.rebuild, key.buckets, key.holds, key.due, key.graves, key.held, key.tick_units,
    key.ticks, key.taken, key.tokens = unpack(KEYS, 1, 11)
local epoch, from, to = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local head_us, database_us = tonumber(ARGV[4]), tonumber(ARGV[5])
-- Clocks that are further apart than this are in doubt.
local CLOCKS_APART_US = 2000000

local at = read_checkpoint()
if not at or at.epoch ~= epoch or at.seq ~= from or to < from then return 0 end
local rows = cmsgpack.unpack(ARGV[6])
write_rows(rows, 12, epoch)
consume(cmsgpack.unpack(ARGV[7]))
mark_ledger_holds(cmsgpack.unpack(ARGV[8]))
if to > from then
    redis.call('HSET', key.checkpoint, 'seq', to)
elseif #rows > 0 then
    rows_changed()
end
if head_us then stamp(head_us) end
if head_us and database_us then
    local doubt = database_us < head_us - CLOCKS_APART_US or database_us > now_us + CLOCKS_APART_US
    if doubt ~= (redis.call('HGET', key.checkpoint, 'doubt') == '1') then
        redis.call('HSET', key.checkpoint, 'doubt', doubt and 1 or 0)
    end
end
purge()
return 1
