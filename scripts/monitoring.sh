#!/usr/bin/env bash
# Checks what Prometheus is given: its configurations, the alerts, and that they go off when they should.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

container=$(mktemp -d)
trap 'rm -rf "$container"' EXIT

promtool check config deploy/prometheus/prometheus.yml
promtool check rules deploy/prometheus/alerts.yml
promtool test rules deploy/prometheus/alerts_test.yml

# What Compose mounts for it, in the places where it looks.
mounts=$(sed -n 's|^ *- \(\.[^:]*\):/etc/prometheus/\([^:]*\):ro$|\1 \2|p' deploy/compose/compose.yml)
while read -r from to; do cp "deploy/compose/$from" "$container/$to"; done <<<"$mounts"
touch "$container/authority.pem"
sed -i "s|/run/secrets/|$container/|" "$container/prometheus.yml"
promtool check config "$container/prometheus.yml" | tee "$container/said"
grep -q '1 rule files found' "$container/said" || fail 'Prometheus in Compose loads no alerts'
