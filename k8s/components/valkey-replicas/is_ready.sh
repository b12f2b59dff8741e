#!/bin/sh
# The primary, as the sentinel beside it knows as well; or a replica that has copied all of it and goes on. The next pod is
# not ended before.
set -eu
# shellcheck disable=SC1091  # a file of the pod
. /etc/valkey/sentinels.sh

if [ "$(replication_of "$VALKEY_SELF" role)" = master ]; then
    # shellcheck disable=SC2046  # words
    set -- $(report "$SENTINEL_SELF")
    [ "${2-}" = "$VALKEY_SELF" ]
else
    [ "$(replication_of "$VALKEY_SELF" master_link_status)" = up ]
fi
