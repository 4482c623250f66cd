-- What a batch hands over for each of its entries: the columns of ledger_entry but its partition, in
-- the order of the insert statement.
--
-- One array of these rows costs PostgreSQL about half as much as one array a column, which it unnests
-- into a table each before it joins them. A type of its own, not the row type of the table: a server
-- of the version before goes on writing while a migration adds a column.
create type entry_row as (
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
    posting_group text
);
