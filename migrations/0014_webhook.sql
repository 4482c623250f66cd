-- Events that go out: who wants to be told, how far each has been told, and what could not be delivered.
--
-- The entries of the ledger are the outbox. A sink (a webhook, or the message stream of the server's
-- settings) has a cursor in every partition: everything up to its sequence number was delivered, or is
-- kept in undelivered_event. Both lie beside the entries, so whatever a fail-over or a restore takes
-- from the ledger it takes from them too.

create table webhook (
    webhook_no integer generated always as identity,
    webhook_id text collate "C" not null,
    url text not null,
    -- Signs what is sent; the retired one beside it until its time is over.
    secret bytea not null,
    retired_secret bytea,
    retired_until timestamptz,
    -- Numbers of event types; empty: all.
    event_types smallint[] not null,
    -- Whose buffer counts for availability; null: nobody's.
    channel_id text collate "C",
    -- At so many available units, and fewer, an item is low; 0: never.
    low_stock_units bigint not null,
    -- Only of these; empty: all.
    location_ids text[] not null,
    skus text[] not null,
    enabled boolean not null,
    -- Why Stockroom itself disabled it.
    disabled_reason text,
    created_at timestamptz not null,
    changed_at timestamptz not null,
    created_by text collate "C",
    changed_by text collate "C",
    -- Grows with every change: servers see that something is new.
    revision bigint not null,
    constraint webhook_pk primary key (webhook_no),
    constraint webhook_id_unique unique (webhook_id),
    constraint webhook_secret check (octet_length(secret) between 24 and 64),
    constraint webhook_retired_secret check ((retired_secret is null) = (retired_until is null)),
    constraint webhook_low_stock_units check (low_stock_units between 0 and 1000000000)
);

create table event_cursor (
    -- Everything up to here was delivered or is kept.
    seq bigint not null,
    -- Transfers that were due by then were told.
    told_until timestamptz not null,
    -- Who delivers, and until when nobody else does.
    lease_until timestamptz not null,
    owner uuid,
    -- Grows when dead letters are to be sent again.
    replays bigint not null,
    failed_at timestamptz,
    -- HTTP; null: there was no answer.
    failed_status integer,
    failure text,
    -- webhook_no; 0: the message stream.
    sink integer not null,
    partition smallint not null,
    constraint event_cursor_pk primary key (partition, sink),
    constraint event_cursor_seq check (seq >= 0)
) with (fillfactor = 50);

-- Events that failed, and those of the same position or reservation that wait for them.
create table undelivered_event (
    -- The entry that it tells of.
    seq bigint not null,
    reservation_no bigint,
    next_attempt_at timestamptz not null,
    failed_at timestamptz,
    location integer not null,
    item integer not null,
    sink integer not null,
    attempts integer not null,
    failed_status integer,
    partition smallint not null,
    event_type smallint not null,
    -- 1 waits for its next attempt, 2 dead letter.
    state smallint not null,
    event_id text collate "C" not null,
    failure text,
    -- As it was and will be sent.
    body text not null,
    constraint undelivered_event_pk primary key (partition, sink, seq, event_type),
    constraint undelivered_event_state check (state in (1, 2)),
    constraint undelivered_event_attempts check (attempts >= 0)
);
