# For the peers in Python: a virtual environment of their own.
# shellcheck shell=bash
python=$PEER_HOME/venv/bin/python
# need_packages <requirement>...
need_packages() {
    [ "$(cat "$PEER_HOME/packages" 2>/dev/null)" = "$*" ] && return
    python3 -m venv "$PEER_HOME/venv"
    "$PEER_HOME/venv/bin/pip" install --quiet --disable-pip-version-check "$@" >&2
    echo "$*" >"$PEER_HOME/packages"
}
