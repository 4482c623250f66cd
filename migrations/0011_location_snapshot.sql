-- Snapshots: full counts of a location as another system sent them.
--
-- What a snapshot changes is in the ledger, as one count an item. This row is written before the first
-- of them: another content under the same key is told by it before anything happens, and a snapshot
-- that is sent again gets the comparison of the first time, which by then would come out equal.
create table location_snapshot (
    -- First 16 bytes of SHA-256 over source and key.
    digest uuid not null,
    -- Over location, cut-off and all rows.
    fingerprint bigint not null,
    received_at timestamptz not null default clock_timestamp(),
    location integer not null,
    partition smallint not null,
    -- How it compared with the ledger, as it was answered; at most 1,000 variances of it.
    comparison jsonb not null,
    constraint location_snapshot_pk primary key (partition, digest, location)
);
