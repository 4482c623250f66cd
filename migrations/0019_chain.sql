-- The audit chain: a row for every batch of a partition, each with the hash of the one before and a
-- hash over its own entries, so that nothing in the log can be changed, taken out or put in without
-- changing every hash behind it. The last hash stands in the head; hashes that were exported
-- (anchors) show whether somebody wrote the whole chain anew.
--
-- Servers of the version before write entries without a row here. The next batch of a server of
-- this version says so with a row that covers these entries by their numbers only (digests is
-- null); such a row also stands for everything that was recorded before this migration.

alter table ledger_head
    -- The last entry that the chain covers; 0: none yet.
    add column chain_seq bigint not null default 0,
    -- Hash of the last row of ledger_batch; zeros: none yet.
    add column chain_hash bytea not null
        default '\x0000000000000000000000000000000000000000000000000000000000000000',
    -- Over both, by the writer; 0: none yet.
    add column chain_checksum bigint not null default 0,
    add constraint ledger_head_chain check (
        chain_seq between 0 and seq and octet_length(chain_hash) = 32
    );

create table ledger_batch (
    -- Its entries are first_seq to last_seq.
    last_seq bigint not null,
    first_seq bigint not null,
    -- The epoch in which it was written.
    epoch bigint not null,
    partition smallint not null,
    -- Hash of the row before; zeros for the first one.
    previous bytea not null,
    -- SHA-256 over previous, partition, epoch, first_seq, last_seq and the digests of its entries.
    hash bytea not null,
    -- The first 16 bytes of the digest of each entry, in order, to name the one that was altered.
    -- Null: its entries were recorded by servers that keep no chain.
    digests bytea,
    constraint ledger_batch_pk primary key (partition, last_seq),
    constraint ledger_batch_seqs check (first_seq between 1 and last_seq),
    constraint ledger_batch_hashes check (
        octet_length(previous) = 32 and octet_length(hash) = 32
    ),
    constraint ledger_batch_digests check (
        octet_length(digests) = 16 * (last_seq - first_seq + 1)
    )
);

-- What a batch hands over for its row, or for two of them.
create type batch_row as (
    first_seq bigint,
    last_seq bigint,
    epoch bigint,
    previous bytea,
    hash bytea,
    digests bytea
);

-- A head with its chain, as servers of this version read it under the lock. Those of the version
-- before go on using head_row.
create type head_row_2 as (
    epoch bigint,
    seq bigint,
    recorded_at timestamptz,
    system_identifier bigint,
    timeline integer,
    chain_seq bigint,
    chain_hash bytea,
    -- The clock, and the database as it is now.
    now timestamptz,
    live_system_identifier bigint,
    live_timeline integer,
    replicated boolean
);
