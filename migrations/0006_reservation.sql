-- Reservations: firm promises of units at one location, and the holds that were taken in the ledger
-- while the reservation layer was away.
--
-- A reservation is named by the sequence number of the entry that made it, so new rows go to the end
-- of every index. Whatever is promised is also in `reserved` of its positions; the entries say which
-- step changed what.

alter table ledger_entry add column reservation_state smallint;

alter table ledger_entry add constraint ledger_entry_reservation_state check (
    reservation_state between 1 and 11
);

-- When a short pick made SELLABLE doubtful, if no count has settled it since.
alter table position add column doubtful_at timestamptz;

-- The columns of ledger_entry as servers of this version hand them over. Those of the version before
-- go on using entry_row.
create type entry_row_2 as (
    seq bigint,
    quantity bigint,
    sellable_after bigint,
    reserved_change bigint,
    reserved_after bigint,
    occurred_at timestamptz,
    effective_at timestamptz,
    recorded_at timestamptz,
    checksum bigint,
    fingerprint bigint,
    location integer,
    item integer,
    source integer,
    channel integer,
    counter_location integer,
    kind smallint,
    legs smallint,
    from_state smallint,
    to_state smallint,
    flags smallint,
    utc_offset_minutes smallint,
    document_line integer,
    counter_seq bigint,
    refers_to_seq bigint,
    expected_at timestamptz,
    key text,
    actor text,
    reason text,
    document text,
    note text,
    reservation_id text,
    hold_id text,
    original_source text,
    original_key text,
    posting_group text,
    reservation_state smallint
);

create table reservation (
    -- Sequence number of the entry that made it.
    no bigint not null,
    -- Part of its name: entries that a fail-over lost never give their names to others.
    epoch bigint not null,
    -- Sequence number of the entry that answers its last step.
    version bigint not null,
    -- Keyed hash of its pickup code; 0: it has none.
    code_hash bigint not null,
    created_at timestamptz not null,
    ready_by timestamptz not null,
    -- When the promise ends by itself.
    expires_at timestamptz not null,
    changed_at timestamptz not null,
    -- Until when the store must begin to pick.
    answer_by timestamptz,
    paid_at timestamptz,
    location integer not null,
    channel integer,
    partition smallint not null,
    -- 1 reserved, 2 picking, 3 ready, 4 collected, 5 cancelled, 6 rejected, 7 expired, 8 moved;
    -- holds: 9 held, 10 released, 11 consumed.
    state smallint not null,
    -- 1 paid online, 2 paid in the store.
    settlement smallint not null,
    -- 1 customer, 2 store.
    cancelled_by smallint,
    ttl_given boolean not null,
    -- The hold that it consumed.
    hold uuid,
    -- Set where it is itself a hold.
    held_as uuid,
    order_ref text collate "C",
    customer_ref text collate "C",
    reason text collate "C",
    successor text collate "C",
    predecessor text collate "C",
    constraint reservation_pk primary key (partition, no),
    constraint reservation_state check (state between 1 and 11),
    constraint reservation_settlement check (settlement between 1 and 2),
    constraint reservation_cancelled_by check (cancelled_by between 1 and 2),
    constraint reservation_version check (version >= no),
    constraint reservation_successor check ((state = 8) = (successor is not null)),
    constraint reservation_held check ((held_as is not null) or state not in (9, 10, 11))
) with (fillfactor = 80);

-- A hold is consumed once, and taken in the ledger once.
create unique index reservation_hold on reservation (partition, hold) where hold is not null;
create unique index reservation_held_as on reservation (partition, held_as)
    where held_as is not null;

-- The sweeper's: promises in the order in which they end.
create index reservation_due on reservation (partition, expires_at) where state in (1, 2, 3, 9);
create index reservation_answer on reservation (partition, answer_by) where answer_by is not null;

-- The store's: open reservations of a location, by pickup code.
create index reservation_open on reservation (partition, location, code_hash)
    where state in (1, 2, 3);

create index reservation_order on reservation (partition, order_ref) where order_ref is not null;
create index reservation_customer on reservation (partition, customer_ref)
    where customer_ref is not null;

create table reservation_line (
    no bigint not null,
    quantity bigint not null,
    picked bigint not null,
    collected bigint not null,
    shelved bigint not null,
    item integer not null,
    -- Order of the lines within the reservation.
    line smallint not null,
    partition smallint not null,
    constraint reservation_line_pk primary key (partition, no, line),
    constraint reservation_line_quantities check (
        0 <= collected and 0 <= shelved and collected + shelved <= picked and picked <= quantity
    )
) with (fillfactor = 80);

-- A reservation as it stood after an earlier step, so that a request that is sent again gets its first
-- answer. The present state is in `reservation`.
create table reservation_version (
    no bigint not null,
    version bigint not null,
    partition smallint not null,
    snapshot jsonb not null,
    constraint reservation_version_pk primary key (partition, no, version)
);

-- What pickup codes are made with where no server brings a secret of its own.
create table pickup_secret (
    only_row boolean not null default true,
    secret uuid not null,
    other_half uuid not null,
    constraint pickup_secret_pk primary key (only_row),
    constraint pickup_secret_only_row check (only_row)
);

insert into pickup_secret (secret, other_half) values (gen_random_uuid(), gen_random_uuid());

-- What a batch hands over for each reservation and line, as it does for entries.
create type reservation_row as (
    no bigint,
    epoch bigint,
    version bigint,
    code_hash bigint,
    created_at timestamptz,
    ready_by timestamptz,
    expires_at timestamptz,
    changed_at timestamptz,
    answer_by timestamptz,
    paid_at timestamptz,
    location integer,
    channel integer,
    state smallint,
    settlement smallint,
    cancelled_by smallint,
    ttl_given boolean,
    hold uuid,
    held_as uuid,
    order_ref text,
    customer_ref text,
    reason text,
    successor text,
    predecessor text
);
