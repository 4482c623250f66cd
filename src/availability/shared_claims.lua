-- What the scripts share that grant: lines are judged by what is there for them.

-- What there is at each asked position, in their order; false where there is no row of the epoch.
-- `token` is the batch whose own claims do not count.
local function stock_of(asked, first, epoch, token)
    local names, values = {}, read_rows(asked, first)
    add_names(names, asked)
    local held = live_held(names)
    local taken = redis.call('HMGET', key.taken, unpack(names))
    local stock = {}
    for i, name in ipairs(names) do
        local row_epoch, _, sellable, reserved = unpack_row(values[i])
        local claims = other_claims(taken[i], token)
        stock[i] = row_epoch == epoch and { name = name, sellable = sellable, reserved = reserved,
            item = tonumber(string.match(name, '-?%d+$')), held = held[i], claims = claims,
            claimed = claimed_units(claims) }
    end
    return stock
end

-- Sums lines by position; nil if one has no row. `lines`: position as its number among the asked,
-- units, units and per cent kept back ...
local function merge_lines(lines, from, count, stock)
    local merged, by_name = {}, {}
    for i = from, from + 4 * (count - 1), 4 do
        local at = stock[lines[i]]
        if not at then return nil end
        local line = by_name[at.name]
        if line then
            line.units = line.units + lines[i + 1]
        else
            line = { at = at, place = lines[i], units = lines[i + 1], buffer_units = lines[i + 2],
                buffer_percent = lines[i + 3] }
            merged[#merged + 1], by_name[at.name] = line, line
        end
    end
    return merged
end

-- Whether these lines are more than may be held at once: nil, or what is capped (item, customer,
-- channel) and the most. `caps`: the most of an item, of a customer, of a channel, at this location;
-- 0: any number. `own`: units that the hold itself brings.
local function capped(caps, owners, lines, own)
    local wanted, brought = 0, 0
    for _, line in ipairs(lines) do
        wanted = wanted + line.units
        local others = math.max(0, line.at.held - (own[line.at.name] or 0))
        if caps[1] > 0 and others + line.units > caps[1] then return 'item', caps[1] end
    end
    for _, units in pairs(own) do brought = brought + units end
    for i, kind in ipairs({ 'customer', 'channel' }) do
        local most, owner = caps[i + 1], owners[i] or ''
        if most > 0 and owner ~= '' then
            local others = math.max(0, live_held({ owner })[1] - brought)
            if others + wanted > most then return kind, most end
        end
    end
    return nil
end

-- Sorts lines into those that fit and those that are short (position, available, ...), and says
-- whether some would fit if no batch were about to claim something. `own` (name -> units) is what
-- an own hold brings; `own_now` says whether it brings it now.
local function judge(lines, own, own_now)
    local fits, short, contended = {}, {}, false
    for _, line in ipairs(lines) do
        local at, brought = line.at, own[line.at.name] or 0
        local free = available(at.sellable, at.reserved, math.max(0, at.held - brought),
            line.buffer_units, line.buffer_percent)
        local held_now = own_now and math.max(0, at.held - brought) or at.held
        local free_now = available(at.sellable, at.reserved, held_now + at.claimed,
            line.buffer_units, line.buffer_percent)
        if line.units > free then
            short[#short + 1], short[#short + 2] = line.place, free
        elseif line.units > free_now then
            contended = true
        else
            fits[#fits + 1] = line
        end
    end
    return fits, short, contended
end

-- fits, contended or short, by the policy of the lines.
local function verdict(per_line, fits, short, contended)
    if not per_line and #short > 0 then return 'short' end
    if contended then return 'contended' end
    if #fits == 0 then return 'short' end
    return 'fits'
end

-- item, units ... of a location: name -> units
local function units_by_name(location, lines)
    local units = {}
    for i = 1, #lines, 2 do
        units[location .. ':' .. lines[i]] = lines[i + 1]
    end
    return units
end

-- The lines of a hold: item, units ...
local function hold_lines(lines)
    local packed = {}
    for _, line in ipairs(lines) do
        packed[#packed + 1], packed[#packed + 2] = line.at.item, line.units
    end
    return packed
end
