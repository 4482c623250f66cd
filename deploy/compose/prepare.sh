#!/usr/bin/env bash
# Makes what compose.yml needs once, in the folder `secrets` beside it (or $1): an authority, certificates,
# passwords, and the addresses that hold them. What is there already is kept.
set -euo pipefail
umask 077
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "${1:-$here/secrets}"
cd "${1:-$here/secrets}"
[ ! -e redis_url ] || exit 0

# Who reads a file in its container: the accounts of the images.
database=999 redis=999 stockroom=65532
days=825

for_account() { [ "$(id -u)" != 0 ] || chown "$@"; }

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 \
    -subj '/CN=Stockroom of this machine' -addext keyUsage=critical,keyCertSign,cRLSign \
    -keyout authority.key -out authority.pem 2>/dev/null
chmod 0444 authority.pem

certify() { # name account other-names
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" \
        -keyout "$1.key" -out "$1.csr" 2>/dev/null
    openssl x509 -req -in "$1.csr" -CA authority.pem -CAkey authority.key -CAcreateserial \
        -days "$days" -out "$1.crt" -extfile <(printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth\n' \
        "DNS:$1,DNS:localhost,IP:127.0.0.1$3") 2>/dev/null
    rm "$1.csr"
    chmod 0400 "$1.key"
    chmod 0444 "$1.crt"
    for_account "$2" "$1.key"
}
certify postgres "$database" ''
certify redis "$redis" ''
certify stockroom "$stockroom" ,DNS:stockroom-1,DNS:stockroom-2

password() { openssl rand -hex 24 | tr -d '\n'; }
keep() { # file account, its content on standard input
    cat >"$1"
    chmod 0400 "$1"
    for_account "$2" "$1"
}
digest() { printf '%s' "$1" | openssl dgst -sha256 | sed 's/.* //'; }

password | keep postgres_password "$database"
tls='sslmode=verify-full&sslrootcert=/run/secrets/authority.pem'
for role in owner application reader; do
    secret=$(password)
    printf '%s' "$secret" | keep "${role}_password" "$database"
    printf 'postgres://stockroom_%s:%s@postgres:5432/stockroom?%s' "$role" "$secret" "$tls" |
        keep "${role}_url" "$stockroom"
done

secret=$(password) operator=$(password)
printf '%s' "$operator" | keep redis_operator_password "$redis"
sed -e "s/SHA256_OF_THE_PASSWORD_OF_STOCKROOM/$(digest "$secret")/" \
    -e "s/SHA256_OF_THE_PASSWORD_OF_OPERATOR/$(digest "$operator")/" \
    "$here/../redis/users.acl" | keep users.acl "$redis"
printf 'rediss://stockroom:%s@redis:6379/' "$secret" | keep redis_url "$stockroom"
