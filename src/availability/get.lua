#!lua flags=no-writes
-- Reads a hold, live or a tombstone.
--
-- KEYS   holds
-- ARGV   1 hold
-- Returns packed: status, tick, lines; or unknown; ledger.
key.holds = KEYS[1]

local hold = load_hold(ARGV[1])
if not hold then return cmsgpack.pack('unknown') end
if hold.status == 'ledger' then return cmsgpack.pack('ledger') end
return cmsgpack.pack(status_of(hold), hold.tick, hold.lines)
