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
TESTS_MAX_S=2400

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

run_tests() { bounded cargo test --workspace; }

# Nothing in Redis may be needed: what users see must be the same without it. (That no unit is oversold
# is tested with, without and with a lying Redis in the first run already.)
run_without_redis() {
    STOCKROOM_TEST_REDIS=absent bounded cargo test --test it -- services failures commit
}

# All test binaries together, for those who read only the end.
total() {
    awk '/^test result:/ { passed += $4; failed += $6 }
        END { printf "tests: %d passed, %d failed\n", passed, failed }' "$log"
}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
part formatting cargo fmt --all --check
part contract buf lint
part lints cargo clippy --workspace --all-targets -- -D warnings
part "lints, sim" cargo clippy --features simulation --lib --test simulation -- -D warnings
part documents env RUSTDOCFLAGS='-D warnings' cargo doc --no-deps --workspace
part supply cargo deny --log-level error check bans licenses sources
part tests run_tests
part 'no redis' run_without_redis
part simulation scripts/simulate.sh
part mutants scripts/simulate.sh mutants
report
total
