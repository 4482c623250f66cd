#!/usr/bin/env bash
# The simulation (SEEDS=500 SEED=1, --trace tells everything), or with `mutants` the hunt for deliberate
# defects; the last line is the result as a JSON object.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

scripts/setup.sh
export SQLX_OFFLINE=true
if [ "${1:-}" = mutants ]; then
    exec cargo test --quiet --features simulation --test simulation -- "$@"
fi
exec cargo test --quiet --features simulation --test simulation -- "${SEEDS:-500}" "${SEED:-1}" "$@"
