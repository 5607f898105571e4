# Redis for those who need one: what is on PATH, or Debian's packages unpacked into .omnibus/peers/redis, without root.
# shellcheck shell=bash
redis=$PEERS_HOME/redis
need_redis() {
    command -v redis-server >/dev/null && return
    [ -x "$redis/usr/bin/redis-check-rdb" ] && return
    mkdir -p "$redis"
    (cd "$redis" && apt-get download --quiet redis-tools libjemalloc2 liblzf1 libatomic1 >&2 &&
        for package in ./*.deb; do dpkg -x "$package" .; done)
    # One program with two names.
    ln -sf redis-check-rdb "$redis/usr/bin/redis-server"
}
serve_redis() {
    local libraries
    libraries=$(echo "$redis"/usr/lib/*-linux-gnu)
    PATH=$PATH:$redis/usr/bin LD_LIBRARY_PATH=${LD_LIBRARY_PATH:-}:$libraries \
        exec redis-server --port "$REDIS_PORT" --bind 127.0.0.1 --save '' --appendonly yes --appendfsync everysec \
        --dir "$(mktemp -d "$PEER_HOME/data.XXXXXX")"
}
