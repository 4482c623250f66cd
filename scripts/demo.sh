#!/usr/bin/env bash
# A year of tills through a Stockroom with databases of its own, some baskets by click and collect:
# once with all the stock that it needs, once with 90 % of it. Exits 0 only if everything holds.
# DATA=folder: the Complete Journey year found there; without it generated ones (SEED=number).
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

data_dir=${DATA_DIR:-.demo}
seed=${SEED:-1}
# A first start makes a database cluster, which takes a while on a slow disk.
ready_within_s=300
server=
serving_dir=

main() {
    scripts/setup.sh
    if [ -n "${DATA:-}" ]; then
        for file in completejourney_transactions.csv.zst completejourney_products.csv.zst; do
            [ -r "$DATA/$file" ] || fail "there is no '$DATA/$file'"
        done
    fi
    say 'Building Stockroom in release mode'
    SQLX_OFFLINE=true cargo build --release --workspace

    # An older demo made the folder itself a data folder.
    [ ! -e "$data_dir/lock" ] || remove_data_dir "$data_dir"
    mkdir -p "$data_dir"
    trap stop_server EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    if [ -n "${DATA:-}" ]; then
        transactions=$DATA/completejourney_transactions.csv.zst
        products=$DATA/completejourney_products.csv.zst
    else
        replay_generated_year
        say "Generating households' baskets from seed $seed"
        transactions=$data_dir/transactions.csv products=$data_dir/products.csv
        target/release/load-tests generate-tills --seed "$seed" --out "$data_dir"
    fi
    replay_orders "$data_dir/100" 100
    replay_orders "$data_dir/90" 90
    say "Everything holds. The ledgers are in '$data_dir': make run DATA_DIR=$data_dir/90"
}

# A year of everything that shops report.
replay_generated_year() {
    start_server "$data_dir/year"
    say "Generating a year of a chain of shops from seed $seed (SEED=... for another one)"
    target/release/load-tests generate --seed "$seed" --out "$data_dir/year.csv"
    say 'Replaying it'
    target/release/stockroom import csv "$data_dir/year.csv" \
        --time-zone Europe/Paris --addr "http://127.0.0.1:$port"
    verify
    stop_server
}

# A year of tills in folder $1, one basket of ten ordered first, with $2 % of the stock that it needs.
replay_orders() {
    start_server "$1"
    say "Replaying a year of tills with $2 % of the stock, one basket of ten by click and collect"
    target/release/stockroom import completejourney "$transactions" "$products" \
        --click-and-collect --opening sum --stock-percent "$2" \
        --addr "http://127.0.0.1:$port" | tee "$1/import.log"
    verify | tee "$1/verify.log"
    # The importer counted what was handed over, written off and returned, the ledger kept the stock.
    local left
    left=$(sed -n 's/.*units that must be left to sell *//p' "$1/import.log" | tr -d ,)
    grep -q "^$left units sellable" "$1/verify.log" ||
        fail "$left units should be left to sell, which '$1/verify.log' does not say"
    stop_server
}

verify() {
    say 'Verifying: every position, promise and head, worked out again from the entries'
    target/release/stockroom verify --data-dir "$serving_dir"
}

start_server() {
    serving_dir=$1
    remove_data_dir "$serving_dir"
    mkdir -p "$serving_dir"
    local http_port
    port=$(free_port)
    http_port=$(free_port)
    say "Starting it on port $port, with a PostgreSQL and a Redis of its own in '$serving_dir'"
    # In the background of a script a process ignores Ctrl-C: it is stopped by the trap, in order.
    target/release/stockroom serve --listen "127.0.0.1:$port" \
        --http-listen "127.0.0.1:$http_port" --data-dir "$serving_dir" \
        </dev/null >"$serving_dir/server.log" 2>&1 &
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

stop_server() {
    [ -n "$server" ] || return 0
    local pid=$server status=0
    server=
    kill -s TERM "$pid" 2>/dev/null || true
    wait "$pid" || status=$?
    [ "$status" = 0 ] || fail_with_log "the server ended with status $status"
}

fail_with_log() {
    tail -n 20 "$serving_dir/server.log" >&2
    fail "$1; all of its log is in '$serving_dir/server.log'"
}

main
