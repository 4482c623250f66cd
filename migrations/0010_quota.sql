-- Quotas: units of a position that are ring-fenced for a channel until it has used them.
--
-- How much of a quota is used follows from the entries of its position and channel behind since_seq;
-- the row is changed only under the lock of its partition's head, with the entries that change it.

create table quota (
    units bigint not null,
    -- What the channel has used since the quota was put; never negative.
    used bigint not null,
    -- When it was used last, or else put, by the ledger's clock.
    used_at timestamptz not null,
    -- A soft one fences nothing once it was not used for so long.
    borrow_after_us bigint not null,
    -- The head of the partition when it was put: entries behind it count.
    since_seq bigint not null,
    location integer not null,
    item integer not null,
    channel integer not null,
    partition smallint not null,
    soft boolean not null,
    constraint quota_pk primary key (partition, location, item, channel),
    constraint quota_units check (units between 1 and 1000000000),
    constraint quota_used check (used >= 0),
    constraint quota_borrow_after check (borrow_after_us between 1000000 and 2678400000000)
) with (fillfactor = 80);

-- What a batch reads and writes of it under the lock.
create type quota_row as (
    location integer,
    item integer,
    channel integer,
    units bigint,
    soft boolean,
    borrow_after_us bigint,
    used bigint,
    used_at timestamptz,
    since_seq bigint
);

-- Which positions have quotas, or had: master data that servers cache, as they ask the ledger about
-- these positions and not the reservation layer.
create table quota_position (
    location_no integer not null,
    item_no integer not null,
    active boolean not null,
    revision bigint not null,
    constraint quota_position_pk primary key (location_no, item_no)
);

create index quota_position_revision on quota_position (revision);
