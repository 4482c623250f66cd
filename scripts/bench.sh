#!/usr/bin/env bash
# One load program by its name; the last line that it prints is its result as a JSON object.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

scripts/setup.sh
SQLX_OFFLINE=true cargo build --release --workspace
exec target/release/load-tests "$@"
