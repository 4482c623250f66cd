-- Master data: where stock is, through which channels it goes, what it is, and who reports it.
--
-- These tables are small, shared by every partition and cached by every server, so that no
-- statement of the hot path joins them. The ledger refers to their rows by narrow numbers: integer
-- columns instead of text codes make its rows about half as expensive to write.
--
-- A put takes the next revision from network_revision, whose row lock orders puts by commit. A
-- server that has seen revision n finds everything that changed since with `revision > n`.

create table network_revision (
    only_row boolean not null default true,
    revision bigint not null,
    constraint network_revision_pk primary key (only_row),
    constraint network_revision_only_row check (only_row)
);

insert into network_revision (revision) values (0);

create table location (
    location_no integer generated always as identity,
    location_id text collate "C" not null,
    name text not null,
    time_zone text not null,
    latitude double precision,
    longitude double precision,
    pickup_enabled boolean not null,
    -- Given once from a stable hash of location_id; the location's whole stock lives there.
    partition smallint not null,
    revision bigint not null,
    constraint location_pk primary key (location_no),
    constraint location_id_unique unique (location_id),
    constraint location_coordinates check ((latitude is null) = (longitude is null)),
    constraint location_latitude check (latitude between -90 and 90),
    constraint location_longitude check (longitude between -180 and 180)
);

create index location_revision on location (revision);

create table channel (
    channel_no integer generated always as identity,
    channel_id text collate "C" not null,
    name text not null,
    revision bigint not null,
    constraint channel_pk primary key (channel_no),
    constraint channel_id_unique unique (channel_id)
);

create index channel_revision on channel (revision);

-- An item appears with its first movement (revision 0, no name) or by a put.
create table item (
    item_no integer generated always as identity,
    sku text collate "C" not null,
    name text not null default '',
    gtins text[] not null default '{}',
    stock_item boolean not null default true,
    revision bigint not null default 0,
    constraint item_pk primary key (item_no),
    constraint item_sku_unique unique (sku)
);

create index item_revision on item (revision) where revision > 0;

-- Who reports movements. resume_key is a hint for a source that lost its place: it may lag behind
-- what is settled, never lead it.
create table source (
    source_no integer generated always as identity,
    source text collate "C" not null,
    resume_key text,
    constraint source_pk primary key (source_no),
    constraint source_unique unique (source)
);
