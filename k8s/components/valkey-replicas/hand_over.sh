#!/bin/sh
# Before a server ends: if it is the primary, another one becomes that, with all that is in this one; writes wait meanwhile.
# Where nobody can, the sentinels find it out when it has ended.
set -eu
# shellcheck disable=SC1091  # a file of the pod
. /etc/valkey/sentinels.sh

for _ in 1 2; do
    if [ "$(replication_of "$VALKEY_SELF" role)" != master ]; then exit 0; fi
    fail_over COORDINATED
    for _ in $(seq 20); do
        if [ "$(replication_of "$VALKEY_SELF" role)" != master ]; then exit 0; fi
        sleep 0.5
    done
done
