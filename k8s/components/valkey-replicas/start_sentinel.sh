#!/bin/sh
# Starts a sentinel with what it knew when it ended. One that is new asks the others who is the primary; if nobody knows,
# as at the very beginning, it is the first server.
set -eu
# shellcheck disable=SC1091  # a file of the pod
. /etc/valkey/sentinels.sh

umask 077
mkdir -p /data/sentinel
cd /data/sentinel
touch known
if [ -e sentinel.conf ]; then
    grep -E '^sentinel (monitor|(current|config|leader)-epoch|known-(replica|sentinel)) ' sentinel.conf >known.new || true
    if grep -q '^sentinel monitor ' known.new; then mv known.new known; fi
fi
if ! [ -s known ]; then
    # shellcheck disable=SC2046  # words
    set -- $(newest_report)
    primary=${2:-${VALKEY_SERVERS%% *}}
    say "is new; the primary is $primary"
    echo "sentinel monitor feeds ${primary%:*} ${primary##*:} 2" >known
fi
{
    cat /etc/valkey/sentinel.conf
    # Always the same, so that the others do not take one that has lost its data for one more.
    echo "sentinel myid $(printf %s "$SENTINEL_SELF" | sha1sum | cut -c 1-40)"
    echo "sentinel announce-ip ${SENTINEL_SELF%:*}"
    echo "sentinel sentinel-user sentinel"
    echo "sentinel sentinel-pass $(password_of sentinel)"
    grep '^sentinel monitor ' known
    echo "sentinel auth-user feeds sentinel"
    echo "sentinel auth-pass feeds $(password_of sentinel)"
    # Milliseconds of silence after which a server counts as lost, and that a failover may take.
    echo "sentinel down-after-milliseconds feeds 5000"
    echo "sentinel failover-timeout feeds 10000"
    # One after the other copies the new primary.
    echo "sentinel parallel-syncs feeds 1"
    grep -v '^sentinel monitor ' known || true
} >sentinel.conf.new
mv sentinel.conf.new sentinel.conf
exec valkey-server sentinel.conf --sentinel
