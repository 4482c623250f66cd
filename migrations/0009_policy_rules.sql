-- Exceptions in the policy of a channel, its locations, what it is shown, and what every policy was.
--
-- Exceptions and locations are columns of the row of the channel, by number: a server reads and caches
-- the row as a whole, and the row's revision covers them.

alter table channel
    -- [{"item": number, "location": number, "buffer": {"units", "percent"}, "units_per_order_max"}]; what
    -- is left out: any, or nothing said.
    add column policy_rules jsonb not null default '[]',
    -- Numbers of the locations whose stock it may promise; none: all.
    add column eligible_locations integer[] not null default '{}',
    -- What it is told of what is available: 1 how many units, 2 in which band they lie.
    add column visibility smallint not null default 1,
    -- Up to so many units are "few left".
    add column few_left_max bigint not null default 0,
    add constraint channel_policy_rules check (
        jsonb_typeof(policy_rules) = 'array'
        and jsonb_array_length(policy_rules) <= 1000
        and not jsonb_path_exists(policy_rules, '$[*] ? (
            !(exists(@.item) || exists(@.location))
            || !(exists(@.buffer) || exists(@.units_per_order_max))
            || @.buffer.units < 0 || @.buffer.units > 1000000000
            || @.buffer.percent < 0 || @.buffer.percent > 100
            || (@.buffer.units > 0 && @.buffer.percent > 0)
            || @.units_per_order_max < 0 || @.units_per_order_max > 1000000000
        )')
    ),
    add constraint channel_eligible_locations check (cardinality(eligible_locations) <= 10000),
    add constraint channel_visibility check (visibility in (1, 2)),
    add constraint channel_few_left_max check (few_left_max between 0 and 1000000000);

-- Every policy that was put since this table is there; written in the transaction of the put.
create table channel_policy_version (
    channel_no integer not null,
    version bigint not null,
    -- The row of the channel as it was then. Columns that came later are not in it.
    policy jsonb not null,
    -- Who put it, and why; empty: nobody said.
    actor text not null,
    note text not null,
    changed_at timestamptz not null default clock_timestamp(),
    constraint channel_policy_version_pk primary key (channel_no, version),
    constraint channel_policy_version_version check (version > 0)
);
