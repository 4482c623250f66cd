#!/bin/sh
# Runs in the container of PostgreSQL after roles.sql, when its data folder is made: gives the roles the
# passwords of their files. psql encrypts nothing here: the server does, with scram-sha-256.
set -eu
for role in owner application reader; do
    psql -v ON_ERROR_STOP=1 -q --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
        -v role="stockroom_$role" -v secret="$(cat "/run/secrets/${role}_password")" <<'SQL'
alter role :"role" password :'secret';
SQL
done
