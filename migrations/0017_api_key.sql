-- API keys: how small integrations say who they are. A key is `sr_<prefix>_<secret>`; only the SHA-256
-- of the secret is kept, which is 256 random bits, so that a plain hash cannot be searched.
--
-- This is no table of the ledger: it is small, read by every server as a whole, and joined to nothing.
-- A server of the version before knows nothing of it and needs nothing of it.

create table api_key (
    -- By which a key is looked up; no secret.
    prefix text collate "C" not null,
    secret_sha256 bytea not null,
    -- The system that calls. Several keys may have the same one, so that they can be changed one by one.
    name text collate "C" not null,
    -- Text forms of scopes; what a server does not know of yet it leaves out.
    scopes text[] not null,
    -- What exists for the holder; null: everything.
    location_ids text[],
    channel_ids text[],
    created_at timestamptz not null,
    -- Null: never.
    expires_at timestamptz,
    revoked_at timestamptz,
    -- When it was last used, to the minute; null: never.
    last_used_at timestamptz,
    -- Grows with every key that is made or revoked: servers see that something is new.
    revision bigint not null,
    constraint api_key_pk primary key (prefix),
    constraint api_key_prefix check (prefix ~ '^[0-9a-f]{12}$'),
    constraint api_key_secret check (octet_length(secret_sha256) = 32),
    constraint api_key_name check (name ~ '^[A-Za-z0-9._:/-]{1,64}$')
);
