-- Who changed the network, and when: locations and their status, channels and their policies, quotas,
-- recalls, webhooks. Entries of the ledger say so of stock; these are not in the ledger.
--
-- A row is written in the transaction of the change, with the revision that it takes. Servers of the
-- version before change without a row. Rows are never changed; old ones go with `stockroom archive`.
create table network_change (
    revision bigint not null,
    -- By the clock of the database.
    changed_at timestamptz not null default clock_timestamp(),
    -- location, location_status, location_closed, channel, channel_policy, quotas, recall, recall_ended,
    -- webhook, webhook_deleted, webhook_disabled, api_key, api_key_revoked.
    what text collate "C" not null,
    -- The id of what was changed; of several quotas, the first one's location.
    subject text collate "C" not null,
    -- Whose credential it was, or who was said to do it; empty: nobody said.
    actor text collate "C" not null,
    -- The role that was connected: a server's, or the owner's for what is done by command.
    role text collate "C" not null default session_user,
    -- The new status, how many quotas, why an item was recalled, the name of a key; else empty.
    detail text not null,
    constraint network_change_pk primary key (revision)
);
