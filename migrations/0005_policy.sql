-- When a location is open, and what a channel may promise.
--
-- Both are columns of the row that they belong to: a server reads and caches the row as a whole,
-- and the row's revision covers them. The defaults are those of the contract, so that a location or
-- a channel that says nothing of it need not be told apart.

alter table location
    -- Seven arrays, Monday first, of {"opens": minute, "closes": minute} of the local day.
    add column opening_hours jsonb not null default '[[], [], [], [], [], [], []]',
    -- {"2026-12-25": [intervals]}; an empty array: closed.
    add column opening_exceptions jsonb not null default '{}',
    -- In opening time. Default: 2 hours.
    add column preparation_us bigint not null default 7200000000,
    -- As many good intervals as intervals: one that lacks a number is not good either.
    add constraint location_opening_hours check (
        jsonb_array_length(opening_hours) = 7
        and jsonb_array_length(jsonb_path_query_array(opening_hours, '$[*][*]
                ? (@.opens >= 0 && @.opens < @.closes && @.closes <= 1440)'))
            = jsonb_array_length(jsonb_path_query_array(opening_hours, '$[*][*]'))
    ),
    add constraint location_opening_exceptions check (
        jsonb_typeof(opening_exceptions) = 'object'
        and jsonb_array_length(jsonb_path_query_array(opening_exceptions, '$.*[*]
                ? (@.opens >= 0 && @.opens < @.closes && @.closes <= 1440)'))
            = jsonb_array_length(jsonb_path_query_array(opening_exceptions, '$.*[*]'))
        and not jsonb_path_exists(opening_exceptions, '$.keyvalue()
                ? (!(@.key like_regex "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"))')
    ),
    add constraint location_preparation check (preparation_us between 0 and 604800000000);

alter table channel
    -- Kept back of each position: fixed units, or per cent of what is sellable.
    add column buffer_units bigint not null default 0,
    add column buffer_percent integer not null default 0,
    -- Of one item in one hold or reservation; 0: no cap.
    add column units_per_order_max bigint not null default 0,
    add column hold_ttl_default_us bigint not null default 900000000,
    add column hold_ttl_max_us bigint not null default 3600000000,
    add column reservation_ttl_max_us bigint not null default 2678400000000,
    add column collect_days_paid_online integer not null default 7,
    add column collect_days_pay_in_store integer not null default 2,
    -- How long the store has to begin picking; null: as long as the reservation stands.
    add column answer_timeout_us bigint,
    -- What becomes of a reservation that was not answered in time: 1 rejected, 2 moved.
    add column unanswered smallint not null default 1,
    -- How often a policy was put; 0: never.
    add column policy_version bigint not null default 0,
    add constraint channel_buffer check (
        buffer_units between 0 and 1000000000 and buffer_percent between 0 and 100
        and (buffer_units = 0 or buffer_percent = 0)
    ),
    add constraint channel_units_per_order_max check (
        units_per_order_max between 0 and 1000000000
    ),
    add constraint channel_hold_ttl check (
        hold_ttl_default_us between 1000000 and hold_ttl_max_us and hold_ttl_max_us <= 3600000000
    ),
    add constraint channel_reservation_ttl_max check (
        reservation_ttl_max_us between 1000000 and 2678400000000
    ),
    add constraint channel_collect_days check (
        collect_days_paid_online between 0 and 31 and collect_days_pay_in_store between 0 and 31
    ),
    add constraint channel_answer_timeout check (
        answer_timeout_us between 1000000 and 2678400000000
    ),
    add constraint channel_unanswered check (unanswered in (1, 2)),
    add constraint channel_policy_version check (policy_version >= 0);
