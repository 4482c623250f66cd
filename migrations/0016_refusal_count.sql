-- Requests that were refused for lack of stock, by quarter of an hour. Refusals are in no entry, as
-- only effects are stored: this is the one figure that the ledger alone cannot tell again.
--
-- Servers add what they counted every few seconds; the key is what a report groups by, so there are
-- at most four rows an hour for each channel at each location that refused anything.
create table refusal_count (
    -- When the quarter of an hour began, by the clock of this database.
    quarter timestamptz not null,
    location integer not null,
    -- 0: through none.
    channel integer not null,
    refusals bigint not null,
    -- Lines of these that were short.
    short_lines bigint not null,
    constraint refusal_count_pk primary key (quarter, location, channel),
    constraint refusal_count_counts check (refusals > 0 and short_lines >= 0)
);
