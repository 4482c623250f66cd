#!/usr/bin/env bash
# Mutated input for everything that parses or decides on input from outside, for FUZZ_SECONDS a target.
# SEED repeats a run; KEEP=1 writes the inputs that showed something new into the corpus.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

scripts/setup.sh
export SQLX_OFFLINE=true
export STOCKROOM_FUZZ_SECONDS=${FUZZ_SECONDS:-20}
export STOCKROOM_FUZZ_KEEP=${KEEP:-0}
[ -z "${SEED:-}" ] || export STOCKROOM_TEST_SEED=$SEED
# The planted defect would only look like one.
exec cargo test --test it fuzz:: -- --nocapture --skip a_defect_behind
