#!/usr/bin/env bash
# Writes what documents list anew from its one definition: all settings, all metrics.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

SQLX_OFFLINE=true UPDATE_DOCUMENTS=1 cargo test --quiet --test it -- documents::generated
