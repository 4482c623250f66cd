#!/usr/bin/env bash
# Formatting, lints, and the whole suite against a PostgreSQL and a Redis that it starts itself.
# DATA=folder: the tests that want real data find it there; without it they say so and are skipped.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

scripts/setup.sh --checks

if [ -n "${DATA:-}" ]; then
    DATA=$(cd "$DATA" && pwd) || fail "there is no folder DATA=$DATA"
    export DATA
else
    say 'no DATA=folder: the tests that want real data are skipped'
fi
export SQLX_OFFLINE=true
table=''
# What all tests of one run may take together.
TESTS_MAX_S=3300

part() {
    local name=$1 from=$SECONDS
    shift
    say "$name: $*"
    "$@" || { report; fail "'$name' failed"; }
    table+=$(printf '%-12s %5d s' "$name" $((SECONDS - from)))$'\n'
}

report() {
    say 'how long each part took'
    printf '%s%-12s %5d s\n' "$table" all "$SECONDS" >&2
}

# A test that never ends must not take the rest of the day: the run is ended, and it is named.
bounded() {
    timeout --signal=INT --kill-after=10 "$TESTS_MAX_S" "$@" 2>&1 | tee -a "$log" || {
        awk '/ has been running for over / { open[$2] = 1 } / \.\.\. / { delete open[$2] }
            END { for (name in open) print "did not end: " name }' "$log" >&2
        return 1
    }
}

# The servers that tests start log more than they would, into a folder that is searched in the end.
run_tests() {
    STOCKROOM_TEST_LOGS=$work/logs STOCKROOM_LOG=info,stockroom=debug bounded cargo test --workspace
}

# Nothing that was secret is in a log of a server or of this run.
look_for_secrets() {
    [ -s "$work/logs/.secrets" ] || fail 'no test has registered a secret'
    [ "$(find "$work/logs" -name 'stockroom-serve-*' -size +0 | wc -l)" -gt 5 ] ||
        fail 'the logs of servers are not there'
    # What ends the databases of the tests copies their logs first, and outlives the tests.
    local tries=0
    until [ -n "$(find "$work/logs" -name 'databases-*')" ]; do
        tries=$((tries + 1))
        [ "$tries" -lt 100 ] || fail 'the logs of databases are not there'
        sleep 0.1
    done
    scripts/secrets.sh "$work/logs" "$log"
}

# Nothing in Redis may be needed: what users see must be the same without it. (That no unit is oversold
# is tested with, without and with a lying Redis in the first run already.)
run_without_redis() {
    STOCKROOM_TEST_REDIS=absent bounded cargo test --test it -- services failures commit
}

# What is known of the crates in the tree, from a copy of the RustSec database: nothing is fetched.
check_advisories() {
    local packed="${DATA:-}/rustsec-advisory-db.tar.zst" folder
    if [ ! -e "$packed" ]; then
        say 'no DATA=folder with rustsec-advisory-db.tar.zst: advisories are not checked'
        return
    fi
    folder=$work/advisories
    # The folder that cargo-deny keeps the database of this address in, as a repository.
    mkdir -p "$folder/advisory-db-3157b0e258782691"
    zstd -dc "$packed" | tar -x -C "$folder/advisory-db-3157b0e258782691"
    (
        cd "$folder/advisory-db-3157b0e258782691"
        git init -q
        git add --all --force
        git -c user.name=test -c user.email=test -c commit.gpgsign=false commit -qm 'a copy'
    )
    sed "s|^\[advisories\]$|&\ndb-path = \"$folder\"|" deny.toml >"$work/deny.toml"
    cargo deny --offline --config "$work/deny.toml" --log-level error check advisories
}

# All test binaries together, for those who read only the end.
total() {
    awk '/^test result:/ { passed += $4; failed += $6 }
        END { printf "tests: %d passed, %d failed\n", passed, failed }' "$log"
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
log=$work/log
mkdir "$work/logs"
# The accounts of the databases write there too.
chmod 0755 "$work"
chmod 1777 "$work/logs"
part formatting cargo fmt --all --check
part contract buf lint
part lints cargo clippy --workspace --all-targets -- -D warnings
part "lints, sim" cargo clippy --features simulation --lib --test simulation -- -D warnings
part documents env RUSTDOCFLAGS='-D warnings' cargo doc --no-deps --workspace
part monitoring scripts/monitoring.sh
part deploying scripts/deploying.sh
part supply cargo deny --log-level error check bans licenses sources
part advisories check_advisories
part tests run_tests
part secrets look_for_secrets
part 'no redis' run_without_redis
part simulation scripts/simulate.sh
part mutants scripts/simulate.sh mutants
report
total
