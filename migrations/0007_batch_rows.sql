-- What a batch reads and writes under the lock, a value each, as entry_row_2 and reservation_row
-- already are: one statement brings everything that it decides on, and one takes all that it wrote.

create type head_row as (
    epoch bigint,
    seq bigint,
    recorded_at timestamptz,
    system_identifier bigint,
    timeline integer,
    -- The clock, and the database as it is now.
    now timestamptz,
    live_system_identifier bigint,
    live_timeline integer,
    replicated boolean
);

create type request_row as (
    digest uuid,
    location integer,
    seq bigint,
    returned bigint,
    corrected_seq bigint
);

create type position_row as (
    location integer,
    item integer,
    sellable bigint,
    staged bigint,
    blocked bigint,
    in_transit bigint,
    expected bigint,
    reserved bigint,
    seq bigint,
    fact_at timestamptz,
    count_at timestamptz,
    count_seq bigint,
    doubtful_at timestamptz
);

create type reservation_line_row as (
    no bigint,
    line smallint,
    item integer,
    quantity bigint,
    picked bigint,
    collected bigint,
    shelved bigint
);
