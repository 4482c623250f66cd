#!lua
-- Admits the claims of a batch, one after the other, and takes what fits for the batch's token.
--
-- A claim is short only if it would not fit if no batch, this one included, were about to claim
-- anything: what they claim may still come to nothing. Until then it is contended.
--
-- KEYS   checkpoint, holds, due, graves, held, tick_units, ticks, taken, tokens, then a bucket of
--        rows each
-- ARGV   1 token  2 the epoch it must be ('': any)  3 the largest age of the checkpoint in us
--        4 '1': adds to what the token took; else an earlier call for the token is undone first
--        5 milliseconds that the token lives
--        6 packed: location, number of items, items, for each bucket
--        7 packed, for each claim: own hold ('': none), 1 if lines that do not fit are left out,
--          number of lines and for each the place of its position in 6, units, units kept back,
--          per cent kept back
-- Returns packed: unusable, why; or admitted, epoch, seq, now in us and for each claim
--        fits | contended | short | unknown (there is no row, or the own hold was consumed), lines
--        that are short (place, available)
key.checkpoint, key.holds, key.due, key.graves, key.held, key.tick_units, key.ticks, key.taken,
    key.tokens = unpack(KEYS, 1, 9)
local token, epoch, age_us_max, adds = ARGV[1], ARGV[2], ARGV[3], ARGV[4] == '1'
local until_tick = tick_after(tonumber(ARGV[5]))
local asked, claims = cmsgpack.unpack(ARGV[6]), cmsgpack.unpack(ARGV[7])

purge()
if not adds then drop_token(token) end
local at = read_checkpoint()
local why = unusable(at, epoch, age_us_max)
if why then return cmsgpack.pack('unusable', why) end
-- What the token took by a call before this one counts as another batch's.
local stock = stock_of(asked, 10, at.epoch, '')

local holds, took = {}, {}

-- An own hold: what it is, what it brings by name, and whether it brings it to this claim.
local function own_of(field)
    if field == '' then return { units = {} } end
    if not holds[field] then
        local hold = load_hold(field)
        local lines = hold and is_live(hold) and hold.lines or {}
        holds[field] = { hold = hold, units = units_by_name(location_of(field), lines),
            now = hold and not is_in_use(hold, ''),
            consumed = hold and status_of(hold) == 'consumed' }
    end
    return holds[field]
end

local function take(lines, own)
    for _, line in ipairs(lines) do
        local place, hold = line.at, own.now and own.hold
        local covered = hold and math.min(line.units, own.units[place.name] or 0) or 0
        local entry = { token, until_tick, line.units, covered, hold and hold.tick or 0 }
        for _, value in ipairs(entry) do place.claims[#place.claims + 1] = value end
        place.claimed = place.claimed + line.units - covered
        took[place.name] = place.claims
    end
    if own.now and next(own.units) then own.now, own.taken = false, true end
end

local verdicts, from = {}, 1
while claims[from] do
    local own, per_line, count = own_of(claims[from]), claims[from + 1] == 1, claims[from + 2]
    -- What was made from a consumed hold, and how to say so, is the ledger's to know.
    local lines = not own.consumed and merge_lines(claims, from + 3, count, stock)
    local result, refused = 'unknown', {}
    if lines then
        local fits, short, contended = judge(lines, own.units, own.now)
        result = verdict(per_line, fits, short, contended)
        if result == 'fits' then take(fits, own) end
        if result ~= 'contended' then refused = short end
    end
    verdicts[#verdicts + 1], verdicts[#verdicts + 2] = result, refused
    from = from + 3 + 4 * count
end

if next(took) then
    local before = adds and unpack_table(redis.call('HGET', key.tokens, token))
    local names, fields = unpack(before or { {}, {} })
    for name in pairs(took) do names[#names + 1] = name end
    for field, own in pairs(holds) do
        if own.taken then
            fields[#fields + 1] = field
            own.hold.token, own.hold.token_tick = token, until_tick
            save_hold(field, own.hold)
        end
    end
    save_claims(took)
    redis.call('HSET', key.tokens, token, cmsgpack.pack({ names, fields }))
    redis.call('ZADD', key.due, until_tick, 't' .. token)
end
return cmsgpack.pack('admitted', at.epoch, at.seq, now_us, verdicts)
