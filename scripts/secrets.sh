#!/usr/bin/env bash
# Looks for secrets in files and folders of logs, and fails where one is: those that tests have registered
# (a file `.secrets` in a folder), and whatever looks like one. Says where, and never what.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

[ $# -gt 0 ] || fail 'say which files or folders'

patterns=(
    'canary-'
    '-----BEGIN [A-Z ]*PRIVATE KEY'
    'whsec_[A-Za-z0-9+/]{16}'
    'sr_[0-9a-f]{12}_[A-Za-z0-9_-]{16}'
    'eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.'
    '(postgres|postgresql|redis|rediss|nats|tls)://[^]:/@ []*:[^]/@ []+@'
    'SCRAM-SHA-256\$[0-9]+:'
)
found=''
search() { # grep's way of looking
    local lines status=0
    lines=$(grep -rnIo --exclude=.secrets "$@") || status=$?
    [ "$status" -lt 2 ] || fail 'the search itself failed'
    [ -z "$lines" ] || found+=$(cut -d: -f1,2 <<<"$lines" | sort -u | head -n 20)$'\n'
}

for pattern in "${patterns[@]}"; do search -E -e "$pattern" -- "$@"; done
for folder in "$@"; do
    [ ! -s "$folder/.secrets" ] || search -F -f "$folder/.secrets" -- "$@"
done
[ -z "$found" ] || fail "there are secrets in these lines:"$'\n'"$found"
