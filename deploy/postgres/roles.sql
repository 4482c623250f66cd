-- The roles of Stockroom: once per database, as a superuser, in the database that it will use. Run again
-- it changes nothing. Then: passwords (\password stockroom_owner, and so on), `stockroom migrate` as the
-- owner, grants.sql as the owner.
--
-- stockroom_owner        owns the tables: `stockroom migrate`, grants.sql, and archiving. Never a server.
-- stockroom_application  the servers: reads, inserts, and updates and deletes only what grants.sql names.
-- stockroom_reader       looks: `stockroom verify`, `entries`, `position`, `rejected`, reports. No secrets.

do $$
declare
    name text;
begin
    foreach name in array array['stockroom_owner', 'stockroom_application', 'stockroom_reader'] loop
        if not exists (select from pg_roles where rolname = name) then
            execute format('create role %I', name);
        end if;
        execute format(
            'alter role %I login nosuperuser nocreatedb nocreaterole noreplication nobypassrls', name);
        execute format('grant connect on database %I to %I', current_database(), name);
    end loop;
    -- Whoever has another business on this server has none in this database.
    execute format('revoke all on database %I from public', current_database());
end
$$;

revoke all on schema public from public;
grant usage, create on schema public to stockroom_owner;
grant usage on schema public to stockroom_application, stockroom_reader;

-- A table of a later version is nobody's but the owner's until grants.sql names it: a privilege that is
-- handed out beforehand would be one to change entries, or to read secrets, that nobody decided on.
alter default privileges for role stockroom_owner in schema public
    revoke all on tables from public, stockroom_application, stockroom_reader;
