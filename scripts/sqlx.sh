#!/usr/bin/env bash
# Writes .sqlx anew: the types of all queries, as PostgreSQL describes them, so that the program
# builds without a database. The macros of sqlx write the files while the compiler runs.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

scripts/setup.sh
command -v psql >/dev/null || fail 'please install psql, the client of PostgreSQL'

# PostgreSQL refuses to run as root.
as_postgres=()
[ "$(id -u)" != 0 ] || as_postgres=(setpriv --reuid postgres --regid postgres --clear-groups)
programs=$(postgres_folder)
folder=$(mktemp -d)
chmod 755 "$folder"
trap 'stop' EXIT

stop() {
    (cd / && "${as_postgres[@]}" "$programs/pg_ctl" stop -s -m immediate -D "$folder/data") || true
    rm -rf "$folder" .sqlx.new
}

say 'a database with the current migrations'
port=$(free_port)
mkdir "$folder/data"
[ "$(id -u)" != 0 ] || chown postgres: "$folder/data"
(
    cd "$folder"
    "${as_postgres[@]}" "$programs/initdb" -U stockroom -A trust -E UTF8 --locale=C -N data >/dev/null
    "${as_postgres[@]}" "$programs/pg_ctl" start -s -w -D data -l data/log \
        -o "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
)
export DATABASE_URL="postgres://stockroom@127.0.0.1:$port/postgres"
for migration in migrations/*.sql; do
    psql "$DATABASE_URL" -q -v ON_ERROR_STOP=1 -1 -f "$migration"
done

say 'the compiler, which asks it about every query'
rm -rf .sqlx.new
mkdir .sqlx.new
# The macros run only for what is compiled again.
touch src/lib.rs
SQLX_OFFLINE=false SQLX_OFFLINE_DIR="$PWD/.sqlx.new" cargo check --workspace --all-targets
rm -rf .sqlx
mv .sqlx.new .sqlx
say "$(find .sqlx -name '*.json' | wc -l) queries in .sqlx"
