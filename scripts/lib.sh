# Shared by the scripts: source it, then be in the project's folder.
# shellcheck shell=bash

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PATH="$PWD/.tools/bin:$PATH"

say() { printf '\n\033[1m== %s\033[0m\n' "$*" >&2; }

fail() {
    printf '\n%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

# The folder with the programs of PostgreSQL's server; fails if there is none.
postgres_folder() {
    local folder IFS=:
    for folder in $PATH $(printf '%s:' /usr/lib/postgresql/*/bin /usr/pgsql-*/bin \
        /usr/libexec/postgresql* /opt/homebrew/opt/postgresql*/bin /usr/local/opt/postgresql*/bin); do
        if [ -x "$folder/initdb" ] && [ -x "$folder/pg_ctl" ] && [ -x "$folder/postgres" ]; then
            printf '%s\n' "$folder"
            return
        fi
    done
    return 1
}

has_redis() { command -v redis-server >/dev/null || command -v valkey-server >/dev/null; }

# A port on the loopback where nobody listens.
free_port() {
    local port
    while :; do
        port=$((20000 + RANDOM % 12000))
        (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
    done
    printf '%s\n' "$port"
}

# The command line of the process $1, empty once it has ended. After a crash an id may be another's.
command_line() { { tr '\0' ' ' <"/proc/$1/cmdline" || ps -o args= -p "$1"; } 2>/dev/null || true; }

# Removes a data folder of Stockroom, what it keeps elsewhere, and servers that a kill left there.
remove_data_dir() {
    local dir=$1 name home file pid
    [ -e "$dir" ] || return 0
    [ -e "$dir/lock" ] || [ -e "$dir/server.log" ] ||
        fail "'$dir' is not a data folder of Stockroom: it is left alone"
    for name in postgres redis; do
        home=$(cd "$dir/$name" 2>/dev/null && pwd -P) || continue
        for file in postmaster.pid redis.pid; do
            pid=$(head -n 1 "$home/data/$file" 2>/dev/null) || continue
            case $(command_line "$pid") in
                *"$home/data"* | *"127.0.0.1:$(cat "$home/port") "*) ;;
                *) continue ;;
            esac
            kill -s INT "$pid" 2>/dev/null || true
            while [ -n "$(command_line "$pid")" ]; do sleep 0.1; done
        done
        case $home in
            /var/lib/stockroom/*) rm -rf "$home" ;;
        esac
    done
    rm -rf "$dir"
}
