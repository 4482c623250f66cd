#!/usr/bin/env bash
# A year of tills through a Stockroom with databases of its own. Exits 0 only if everything holds.
# DATA=folder: the Complete Journey year found there; without it a generated one (SEED=number).
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

data_dir=${DATA_DIR:-.demo}
seed=${SEED:-1}
# A first start makes a database cluster, which takes a while on a slow disk.
ready_within_s=300
server=

main() {
    scripts/setup.sh
    if [ -n "${DATA:-}" ]; then
        for file in completejourney_transactions.csv.zst completejourney_products.csv.zst; do
            [ -r "$DATA/$file" ] || fail "there is no '$DATA/$file'"
        done
    fi
    say 'Building Stockroom in release mode'
    SQLX_OFFLINE=true cargo build --release --workspace

    trap stop_server EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    start_server
    replay
    say 'Verifying: every position, head and conservation of units, computed again from the entries'
    target/release/stockroom verify --data-dir "$data_dir"
    stop_server
    say "Everything holds. The ledger is in '$data_dir': make run DATA_DIR=$data_dir"
}

start_server() {
    remove_data_dir "$data_dir"
    mkdir -p "$data_dir"
    local http_port
    port=$(free_port)
    http_port=$(free_port)
    say "Starting it on port $port, with a PostgreSQL and a Redis of its own in '$data_dir'"
    # In the background of a script a process ignores Ctrl-C: it is stopped by the trap, in order.
    target/release/stockroom serve --listen "127.0.0.1:$port" \
        --http-listen "127.0.0.1:$http_port" --data-dir "$data_dir" \
        </dev/null >"$data_dir/server.log" 2>&1 &
    server=$!
    local deadline=$((SECONDS + ready_within_s))
    until is_ready "$http_port"; do
        kill -0 "$server" 2>/dev/null || {
            server=
            fail_with_log 'the server has ended'
        }
        [ "$SECONDS" -lt "$deadline" ] || fail_with_log "not ready within $ready_within_s s"
        sleep 0.2
    done
}

is_ready() {
    local status=
    {
        exec 3<>"/dev/tcp/127.0.0.1/$1" || return 1
        printf 'GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >&3
        read -r -t 5 status <&3 && timeout 5 cat <&3 >/dev/null || true
        exec 3>&-
    } 2>/dev/null
    [[ $status == *' 200 '* ]]
}

replay() {
    local addr="http://127.0.0.1:$port"
    if [ -n "${DATA:-}" ]; then
        say 'Replaying the Complete Journey year: 457 grocery shops, opening stock first'
        target/release/stockroom import completejourney \
            "$DATA/completejourney_transactions.csv.zst" \
            "$DATA/completejourney_products.csv.zst" --opening sum --addr "$addr"
    else
        say "Generating a year of a chain of shops from seed $seed (SEED=... for another one)"
        target/release/load-tests generate --seed "$seed" --out "$data_dir/year.csv"
        say 'Replaying it'
        target/release/stockroom import csv "$data_dir/year.csv" \
            --time-zone Europe/Paris --addr "$addr"
    fi
}

stop_server() {
    [ -n "$server" ] || return 0
    local pid=$server status=0
    server=
    kill -s TERM "$pid" 2>/dev/null || true
    wait "$pid" || status=$?
    [ "$status" = 0 ] || fail_with_log "the server ended with status $status"
}

fail_with_log() {
    tail -n 20 "$data_dir/server.log" >&2
    fail "$1; all of its log is in '$data_dir/server.log'"
}

main
