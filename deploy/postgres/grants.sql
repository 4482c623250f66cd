-- What the roles of roles.sql may do, table by table: as stockroom_owner, after every `stockroom migrate`
-- and before the servers of the new version start. It begins from nothing and takes effect as a whole.
--
-- Nobody but the owner may change or remove an entry of the ledger, a batch of its chain, a version of a
-- policy, a note of who changed the network, or a mark that a snapshot was applied: for those there is
-- INSERT, and no more. What is archived, which is the owner's to do, is only read.

begin;

revoke all on all tables in schema public from stockroom_application, stockroom_reader;
grant select on all tables in schema public to stockroom_application;

-- The ledger. Partitions are made by `migrate`; a head moves with every batch.
grant update on ledger_head to stockroom_application;
grant insert on ledger_entry, ledger_batch to stockroom_application;
grant insert, update on position to stockroom_application;
-- A request keeps its fingerprint; what was returned or corrected of it changes.
grant insert, update (seq, returned, corrected_seq) on request to stockroom_application;
grant insert, update on reservation to stockroom_application;
grant insert, update, delete on reservation_line to stockroom_application;
grant insert on reservation_version to stockroom_application;
grant insert, update, delete on quota to stockroom_application;
grant insert on location_snapshot to stockroom_application;
grant insert, update on refusal_count to stockroom_application;

-- Master data.
grant update on network_revision to stockroom_application;
grant insert, update on location, channel, item, source to stockroom_application;
grant insert on channel_policy_version, network_change to stockroom_application;
grant insert, update on quota_position to stockroom_application;

-- What waits: movements for a decision, events for their receivers.
grant insert, update on rejected_movement to stockroom_application;
grant insert, update, delete on webhook, event_cursor, undelivered_event to stockroom_application;

-- Callers. `stockroom keys` is the owner's: a server notes when a key was used, and makes none.
grant update (last_used_at) on api_key to stockroom_application;

-- Who looks sees everything but secrets: not pickup_secret, not what webhooks are signed with, and no
-- hash of a key.
grant select on
    ledger_head, ledger_entry, ledger_batch, archived_slice, archived_entry, carried_position,
    carried_announcement, known_entry, position, request, reservation, reservation_line,
    reservation_version, quota, quota_position, location_snapshot, refusal_count, network_revision,
    network_change, location, channel, item, source, channel_policy_version, rejected_movement,
    event_cursor, undelivered_event,
    _sqlx_migrations
    to stockroom_reader;
grant select (webhook_no, webhook_id, url, event_types, channel_id, low_stock_units, location_ids, skus,
    enabled, disabled_reason, created_at, changed_at, created_by, changed_by, revision)
    on webhook to stockroom_reader;
grant select (prefix, name, scopes, location_ids, channel_ids, created_at, expires_at, revoked_at,
    last_used_at, revision)
    on api_key to stockroom_reader;

commit;
