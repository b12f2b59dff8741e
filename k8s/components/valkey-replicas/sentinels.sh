# shellcheck shell=sh
# What the scripts of servers and sentinels share: read by them, not run.
#
#   VALKEY_SELF        host:port of this server, as all others call it
#   VALKEY_SERVERS     of all of them
#   SENTINEL_SELF      of the sentinel beside this server
#   SENTINELS          of all of them

say() { echo "${0##*/}: $*" >&2; }

password_of() { head -n 1 "/run/secrets/$1/password"; }

# PLACE COMMAND...: the answer of a server or a sentinel; nothing from one that is away, or that refuses.
ask() {
    place=$1
    shift
    VALKEYCLI_AUTH=$(password_of sentinel) timeout 2 \
        valkey-cli -e -h "${place%:*}" -p "${place##*:}" --user sentinel --no-auth-warning "$@" 2>/dev/null </dev/null
}

# SERVER FIELD: of its replication; nothing from one that is away.
replication_of() {
    ask "$1" INFO replication | tr -d '\r' | sed -n "s/^$2://p"
}

# SENTINEL: how often the primary has changed, who it is, how many copy it, and what else is known of it.
report() {
    ask "$1" SENTINEL MASTER feeds | {
        epoch='' host='' port='' replicas=0 flags=''
        while read -r name && read -r value; do
            case $name in
                config-epoch) epoch=$value ;;
                ip) host=$value ;;
                port) port=$value ;;
                num-slaves) replicas=$value ;;
                flags) flags=$value ;;
            esac
        done
        if [ -n "$host" ]; then echo "$epoch $host:$port $replicas $flags"; fi
    }
}

# What the newest of all sentinels says that answer.
newest_report() {
    for sentinel in $SENTINELS; do
        report "$sentinel" &
    done | sort -rn | head -n 1
}

# [COORDINATED]: has a sentinel see to it that another server becomes the primary in place of this one. Not the sentinel
# beside it, which may be about to end; only one, and none that is about it or knows of another primary: each time it is
# said, somebody is the primary no longer.
fail_over() {
    for sentinel in $SENTINELS; do
        if [ "$sentinel" = "$SENTINEL_SELF" ]; then continue; fi
        case $(report "$sentinel") in
            '') continue ;;
            *" $VALKEY_SELF "*_down* | *failover_in_progress*) say "$sentinel misses this server already" ;;
            *" $VALKEY_SELF "*) ask "$sentinel" SENTINEL FAILOVER feeds "$@" >&2 || say "$sentinel finds nobody who could" ;;
        esac
        return
    done
}
