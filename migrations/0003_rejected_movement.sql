-- Movements that could not be recorded, kept as they were sent until somebody decides. Not part of
-- the ledger: a rejected movement may lack everything a ledger row needs, even a valid location.
create table rejected_movement (
    rejected_movement_id uuid not null,
    -- First 16 bytes of SHA-256 over source and key, or over source and payload where the key itself
    -- is invalid: one row per source and key.
    digest uuid not null,
    source text collate "C" not null,
    -- Null where it is not an identifier.
    location_id text collate "C",
    code integer not null,
    reason text collate "C" not null,
    message text not null,
    metadata jsonb not null,
    -- The movement as a protobuf message, `stockroom.v1.Movement`.
    payload bytea not null,
    rejected_at timestamptz not null,
    attempts integer not null,
    -- 1 open, 2 resolved, 3 dismissed.
    state smallint not null,
    actor text,
    note text,
    constraint rejected_movement_pk primary key (rejected_movement_id),
    constraint rejected_movement_digest unique (digest),
    constraint rejected_movement_state check (state between 1 and 3),
    constraint rejected_movement_attempts check (attempts > 0)
);

create index rejected_movement_open on rejected_movement (rejected_movement_id) where state = 1;
