-- The archive: old entries move into files, whole batches at a time, and their rows are removed. What a
-- partition still has of them is here: where its log begins now, what its positions were there, which
-- announcements were open there, and of each entry what its key is answered with.
--
-- Servers of the version before know nothing of this: nothing may be archived while one of them runs.

-- One row for each file. The newest of a partition says where its log begins.
create table archived_slice (
    -- The file has the entries first_seq to last_seq, each with the batch that it came in.
    last_seq bigint not null,
    first_seq bigint not null,
    -- The epoch of its last batch.
    epoch bigint not null,
    -- When its last entry was recorded; nothing in it took effect later.
    recorded_at timestamptz not null,
    archived_at timestamptz not null default now(),
    partition smallint not null,
    -- Hash of the chain before its first batch, and behind its last one.
    previous bytea not null,
    hash bytea not null,
    -- Of the file.
    file_sha256 bytea not null,
    file_name text not null,
    constraint archived_slice_pk primary key (partition, last_seq),
    constraint archived_slice_seqs check (first_seq between 1 and last_seq),
    constraint archived_slice_hashes check (
        octet_length(previous) = 32 and octet_length(hash) = 32 and octet_length(file_sha256) = 32
    )
);

-- What the archived entries of a position add up to.
create table carried_position (
    sellable bigint not null,
    staged bigint not null,
    blocked bigint not null,
    in_transit bigint not null,
    expected bigint not null,
    reserved bigint not null,
    -- The last of them.
    seq bigint not null,
    location integer not null,
    item integer not null,
    partition smallint not null,
    constraint carried_position_pk primary key (partition, location, item)
);

-- How announcements stood behind the archived entries, of lines that are open or go on in the log.
create table carried_announcement (
    -- What its uncorrected EXPECTs and ADJUSTs, and all of its entries, add up to in EXPECTED.
    announced bigint not null,
    expected bigint not null,
    -- Number of its uncorrected RECEIPTs.
    receipts bigint not null,
    location integer not null,
    item integer not null,
    -- 0: none.
    document_line integer not null,
    partition smallint not null,
    document text collate "C" not null,
    constraint carried_announcement_pk primary key (partition, document, location, item, document_line)
);

-- What remains of an archived entry that answers a key: its outcome. Columns are those of ledger_entry.
create table archived_entry (
    seq bigint not null,
    quantity bigint not null,
    sellable_after bigint not null,
    reserved_change bigint not null,
    reserved_after bigint not null,
    effective_at timestamptz not null,
    recorded_at timestamptz not null,
    fingerprint bigint not null,
    counter_seq bigint,
    location integer not null,
    item integer not null,
    source integer not null,
    counter_location integer,
    partition smallint not null,
    kind smallint not null,
    legs smallint not null,
    from_state smallint,
    to_state smallint,
    flags smallint not null,
    reservation_state smallint,
    reservation_id text collate "C",
    constraint archived_entry_pk primary key (partition, seq)
);

-- Entries by their number, wherever they are; the flag 256 says that one is archived.
create view known_entry as
select partition, seq, quantity, sellable_after, reserved_change, reserved_after, occurred_at,
    effective_at, recorded_at, checksum, fingerprint, location, item, source, channel,
    counter_location, kind, legs, from_state, to_state, flags, utc_offset_minutes, document_line,
    counter_seq, refers_to_seq, expected_at, key, actor, reason, document, note, reservation_id,
    hold_id, original_source, original_key, posting_group, reservation_state
from ledger_entry
union all
select partition, seq, quantity, sellable_after, reserved_change, reserved_after, effective_at,
    effective_at, recorded_at, 0::bigint, fingerprint, location, item, source, null::integer,
    counter_location, kind, legs, from_state, to_state, (flags | 256)::smallint, 0::smallint,
    null::integer, counter_seq, null::bigint, null::timestamptz, '' collate "C", null, null, null,
    null, reservation_id, null, null, null, null, reservation_state
from archived_entry;
