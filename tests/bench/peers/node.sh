# For the peers in JavaScript: packages of their own.
# shellcheck shell=bash
# need_packages <package@version>...
need_packages() {
    [ "$(cat "$PEER_HOME/packages" 2>/dev/null)" = "$*" ] && return
    (cd "$PEER_HOME" && { [ -e package.json ] || echo '{"private": true, "type": "module"}' >package.json; } &&
        npm install --silent --no-audit --no-fund "$@" >&2)
    echo "$*" >"$PEER_HOME/packages"
}
# run_js <file> [argument]... : beside its packages, where node looks for them
run_js() {
    cmp -s "$here/$1" "$PEER_HOME/$1" || cp "$here/$1" "$PEER_HOME/$1"
    cd "$PEER_HOME" && exec node "$@"
}
