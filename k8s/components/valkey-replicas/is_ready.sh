#!/bin/sh
# A primary that is loaded, or a replica that has copied all of it and goes on: the next pod is not ended before.
set -eu
# shellcheck disable=SC1091  # a file of the pod
. /etc/valkey/sentinels.sh

[ "$(replication_of "$VALKEY_SELF" role)" = master ] || [ "$(replication_of "$VALKEY_SELF" master_link_status)" = up ]
