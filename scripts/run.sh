#!/usr/bin/env bash
# Serves until stopped, with databases of its own unless DATABASE_URL and REDIS_URL name others.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

scripts/setup.sh
SQLX_OFFLINE=true cargo build --release
exec target/release/stockroom serve --listen "${LISTEN:-127.0.0.1:7777}" \
    --http-listen "${HTTP_LISTEN:-127.0.0.1:7778}" --data-dir "${DATA_DIR:-.stockroom}"
