#!/bin/sh
# Starts this server as what the sentinels say: as the primary, or as a replica of it. They say it at each start, since
# much may have happened before it; so nothing has to remember it here.
set -eu
# shellcheck disable=SC1091  # a file of the pod
. /etc/valkey/sentinels.sh

# Seconds in which somebody else should have become the primary.
patience=60
began=$(date +%s)
# When that was asked for, and how long it may take.
asked=0
failover=20

# Whether somebody is there who has all that was acknowledged, as this server may not: the last second of what it wrote may
# not have come to its disk.
is_covered() {
    for other in $VALKEY_SERVERS; do
        if [ "$other" = "$VALKEY_SELF" ]; then continue; fi
        case $(replication_of "$other" role) in
            master)
                say "$other is about to be the primary"
                return
                ;;
            slave)
                # More than nothing: it has copied something since it was started.
                if [ "$(replication_of "$other" slave_repl_offset)" -gt 1 ]; then
                    say "$other is to be the primary"
                    if [ $(($(date +%s) - asked)) -gt "$failover" ]; then
                        asked=$(date +%s)
                        fail_over
                    fi
                    return
                fi
                ;;
        esac
    done
    return 1
}

while :; do
    # shellcheck disable=SC2046  # words
    set -- $(newest_report)
    primary=${2-} replicas=${3-0}
    if [ -z "$primary" ]; then
        say "no sentinel says who is the primary"
    elif [ "$primary" != "$VALKEY_SELF" ]; then
        say "starts as a replica of $primary"
        role="replicaof ${primary%:*} ${primary##*:}"
        break
    elif [ ! -e /data/appendonlydir ] && [ "$replicas" -gt 0 ]; then
        is_covered || say "has lost its data: who has a copy must be the primary first, or the copies would be lost as well"
    elif [ $(($(date +%s) - began)) -gt "$patience" ] || ! is_covered; then
        say "starts as the primary"
        role=''
        break
    fi
    sleep 1
done

exec valkey-server - <<END
include /etc/valkey/valkey.conf
include /etc/valkey/replicas.conf
replica-announce-ip ${VALKEY_SELF%:*}
replica-announce-port ${VALKEY_SELF##*:}
primaryuser replica
primaryauth "$(password_of replica)"
$role
END
