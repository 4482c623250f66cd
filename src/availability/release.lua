#!lua flags=allow-oom
-- Ends a hold that its owner gives up.
--
-- KEYS   holds, due, graves, held, tick_units, ticks
-- ARGV   1 hold
-- Returns packed: now; already, status; unknown; ledger; in_use.
key.holds, key.due, key.graves, key.held, key.tick_units, key.ticks = unpack(KEYS)
local field = ARGV[1]

local hold = load_hold(field)
if not hold then return cmsgpack.pack('unknown') end
if hold.status == 'ledger' then return cmsgpack.pack('ledger') end
if not is_live(hold) then return cmsgpack.pack('already', status_of(hold)) end
if is_in_use(hold, '') then return cmsgpack.pack('in_use') end
bury(field, hold, 'released')
return cmsgpack.pack('now')
