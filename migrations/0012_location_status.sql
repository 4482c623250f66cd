-- What changes about a location while it is in business: its live status, closures that deadlines are
-- moved past, how many orders it can have ready at a time, and that it is closed for good.
--
-- Deadlines of reservations are moved after the row was changed, by a task that may be killed at any
-- moment: what it has to do is that rescheduled_revision is behind calendar_revision, and nothing of the
-- location expires as long as it is.

alter table location
    -- 1 open, 2 pickup only, 3 no new reservations, 4 closed. Past live_status_until it is 1.
    add column live_status smallint not null default 1,
    add column live_status_until timestamptz,
    -- The last time that it was closed by its status, and when it opened again or will; null: open end.
    add column closed_from timestamptz,
    add column closed_until timestamptz,
    -- When it was closed for good.
    add column closed_at timestamptz,
    -- Orders that it has ready within one quarter of an hour; 0: any number.
    add column pickups_per_quarter_hour integer not null default 0,
    -- The revision that changed its hours or a closure last, and the one that deadlines follow.
    add column calendar_revision bigint not null default 0,
    add column rescheduled_revision bigint not null default 0,
    add constraint location_live_status check (live_status between 1 and 4),
    add constraint location_closure check (
        closed_until is null or closed_from is not null and closed_from <= closed_until
    ),
    add constraint location_pickups check (pickups_per_quarter_hour between 0 and 10000),
    add constraint location_rescheduled check (rescheduled_revision <= calendar_revision);

-- Locations whose deadlines are to be moved: none, nearly always.
create index location_pending on location (location_no)
    where rescheduled_revision < calendar_revision;
