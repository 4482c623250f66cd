#!/usr/bin/env bash
# Checks what Prometheus is given: its configuration, the alerts, and that they go off when they should.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

cd deploy/prometheus
promtool check config prometheus.yml
promtool check rules alerts.yml
promtool test rules alerts_test.yml
