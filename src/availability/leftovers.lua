#!lua
-- Finds what is past its time and was not removed: holds and tokens that are long due, tokens that
-- nobody would ever remove, and claims of tokens that are gone.
--
-- KEYS   due, taken, tokens, holds
-- ARGV   1 how many milliseconds are long  2 '1': claims and tokens are removed
-- Returns packed: how many are long due, tokens that were lost, positions with dead claims.
key.due, key.taken, key.tokens, key.holds = unpack(KEYS)
local before, mends = tick_now - math.ceil(tonumber(ARGV[1]) * 1000 / TICK_US), ARGV[2] == '1'

local overdue, lost, dead = redis.call('ZCOUNT', key.due, '-inf', before), 0, 0
for _, token in ipairs(redis.call('HKEYS', key.tokens)) do
    if not redis.call('ZSCORE', key.due, 't' .. token) then
        lost = lost + 1
        if mends then drop_token(token) end
    end
end
local claims = redis.call('HGETALL', key.taken)
for i = 1, #claims, 2 do
    local entries, long_dead = unpack_table(claims[i + 1]), false
    for at = 2, entries and #entries or 0, 5 do
        long_dead = long_dead or entries[at] <= before
    end
    if long_dead or not entries then
        dead = dead + 1
        if mends then save_claims({ [claims[i]] = other_claims(claims[i + 1], '') }) end
    end
end
return cmsgpack.pack(overdue, lost, dead)
