-- The ledger: a set of partitions, each an append-only log with a dense sequence.
--
-- `partition` comes first in every key and no row ever changes it, so that the same schema can be
-- spread over many databases by that column. For the same reason ledger tables have no foreign
-- keys, triggers, sequences or identity columns.

-- One row per partition. Whoever writes to a partition locks this row first: that one lock
-- serialises the partition, orders its log by commit and makes locks on positions needless.
create table ledger_head (
    partition smallint not null,
    -- Moves when the ledger may have lost its tail (restore, fail-over).
    epoch bigint not null,
    -- Sequence number of the last entry; 0: none yet.
    seq bigint not null,
    -- When the last entry was recorded.
    recorded_at timestamptz not null,
    -- The database that wrote last. A difference to the live values moves the epoch.
    system_identifier bigint not null,
    timeline integer not null,
    -- Over all other columns, by the writer.
    checksum bigint not null,
    constraint ledger_head_pk primary key (partition),
    constraint ledger_head_seq check (seq >= 0)
) with (fillfactor = 10);

-- Immutable and insert-only. Columns stand in the order that packs them best.
create table ledger_entry (
    seq bigint not null,
    quantity bigint not null,
    sellable_after bigint not null,
    reserved_change bigint not null,
    reserved_after bigint not null,
    occurred_at timestamptz not null,
    effective_at timestamptz not null,
    recorded_at timestamptz not null,
    -- Over all other columns, by the writer: an entry that was altered is found and named.
    checksum bigint not null,
    -- Over the canonical fields of the request: another body under the same key is told by it.
    fingerprint bigint not null,
    location integer not null,
    item integer not null,
    -- Who sent the movement, or the one that made this entry necessary.
    source integer not null,
    channel integer,
    -- Where the entry at counter_seq stands: the other half of a transfer, the original of a return.
    counter_location integer,
    partition smallint not null,
    kind smallint not null,
    -- Which legs of (from_state -> to_state) change this position: 0 none (a count), 1 from, 2 to, 3 both.
    legs smallint not null,
    from_state smallint,
    to_state smallint,
    flags smallint not null,
    utc_offset_minutes smallint not null,
    document_line integer,
    -- In the partition of counter_location.
    counter_seq bigint,
    -- The entry of this partition that this one corrects or explains.
    refers_to_seq bigint,
    expected_at timestamptz,
    key text collate "C" not null,
    actor text collate "C",
    reason text collate "C",
    document text collate "C",
    note text,
    reservation_id text collate "C",
    hold_id text collate "C",
    original_source text collate "C",
    original_key text collate "C",
    posting_group text collate "C",
    constraint ledger_entry_pk primary key (partition, seq),
    constraint ledger_entry_seq check (seq > 0),
    constraint ledger_entry_quantity check (quantity >= 0),
    constraint ledger_entry_legs check (legs between 0 and 3),
    constraint ledger_entry_states check (
        from_state between 1 and 6 and to_state between 1 and 6 and from_state <> to_state
        or from_state is null and to_state is null and legs = 0
    ),
    constraint ledger_entry_effective check (effective_at <= recorded_at),
    -- The second guard of "never oversell". Kinds from 100 on are requests, which may be refused;
    -- kinds below are facts, which may not.
    constraint ledger_entry_no_oversell check (
        kind < 100 or reserved_change <= 0 or reserved_after <= sellable_after
    )
);

-- Entries of one position in order: listing, earlier states, the fold of late facts.
create index ledger_entry_position on ledger_entry (partition, location, item, seq);

-- Entries of one business document: listing, and what of an announcement is still open.
create index ledger_entry_document on ledger_entry (partition, document, seq)
    where document is not null;

-- Current balances; always recomputable from the entries.
create table position (
    sellable bigint not null,
    staged bigint not null,
    blocked bigint not null,
    in_transit bigint not null,
    expected bigint not null,
    reserved bigint not null,
    -- The last entry that touched it: the version of the position.
    seq bigint not null,
    -- The newest effective_at of its facts: a count older than this needs the history.
    fact_at timestamptz not null,
    -- Its last count in the order (effective_at, seq) that was not corrected: a fact older than
    -- this changes nothing that was counted.
    count_at timestamptz,
    count_seq bigint,
    location integer not null,
    item integer not null,
    partition smallint not null,
    constraint position_pk primary key (partition, location, item),
    constraint position_reserved check (reserved >= 0),
    constraint position_count check ((count_at is null) = (count_seq is null))
) with (fillfactor = 80);

-- What was posted under a key. Only effects are stored, never refusals. The scope of a key is
-- (source, location); the location stands beside the digest instead of inside it so that a return
-- in another shop finds its original by source and key alone.
create table request (
    -- First 16 bytes of SHA-256 over source and key.
    digest uuid not null,
    -- The entry that it became, which keeps the fingerprint of the request; null: only awaited,
    -- because something refers to it that came first.
    seq bigint,
    -- Units returned against it by linked returns that were not corrected.
    returned bigint,
    -- The entry that corrected it; for an awaited one, the CORRECT entry that waits for it.
    corrected_seq bigint,
    location integer not null,
    partition smallint not null,
    constraint request_pk primary key (partition, digest, location)
);
