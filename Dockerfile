# The daemon in a venv of its own on a slim Python: one stage fills the venv, the other takes it over as it is.
# docs/deploy.md says how to build it, pin the base by its digest, and run it.

# Of Docker's official image; with a digest, `3.13-slim-trixie@sha256:...`, the base is the same each time.
ARG PYTHON_TAG=3.13-slim-trixie

FROM docker.io/library/python:${PYTHON_TAG} AS build
WORKDIR /build
RUN python3 -m venv --without-pip /opt/aurora-bridge
# Packages first: this layer is recreated only when the lock changes.
# `--build-arg EXTRA=msk` adds what signs tokens for Amazon MSK with IAM.
ARG EXTRA=
COPY requirements.lock requirements-msk.lock ./
RUN python3 -m pip --python /opt/aurora-bridge/bin/python3 install --no-cache-dir --no-compile --require-hashes \
    --requirement "requirements${EXTRA:+-}${EXTRA}.lock"
# `--build-arg COMPILE=1` makes the compiled build. What that needs is in a venv that ends with this stage. Debian's
# compiler has no version pinned: each suite has one, with its security updates.
ARG COMPILE=0
COPY requirements-compile.lock ./
# hadolint ignore=DL3008
RUN if [ "$COMPILE" = 1 ]; then \
    { command -v gcc >/dev/null || { apt-get update \
        && apt-get install --yes --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*; }; } \
    && python3 -m venv --without-pip /opt/compile \
    && python3 -m pip --python /opt/compile/bin/python3 install --no-cache-dir --no-compile --require-hashes \
        --requirement requirements-compile.lock; fi
COPY pyproject.toml setup.py LICENSE ./
COPY src ./src
# Then the package, by the locked build backend, which nothing needs afterwards. Byte code is made here, because nobody
# can write it later, and so that it holds whatever becomes of the files' times.
RUN if [ "$COMPILE" = 1 ]; then builder=/opt/compile; else builder=/opt/aurora-bridge; fi \
    && AURORA_BRIDGE_COMPILE=$COMPILE python3 -m pip --python "$builder/bin/python3" wheel --no-cache-dir \
        --no-deps --no-build-isolation --wheel-dir wheels . \
    && python3 -m pip --python /opt/aurora-bridge/bin/python3 install --no-cache-dir --no-compile --no-deps wheels/*.whl \
    && python3 -m pip --python /opt/aurora-bridge/bin/python3 uninstall --yes setuptools \
    && /opt/aurora-bridge/bin/python3 -m compileall -q --invalidation-mode unchecked-hash /opt/aurora-bridge/lib

FROM docker.io/library/python:${PYTHON_TAG}
# Of group 0, so that it also serves a platform that picks the user itself, with group 0 (OpenShift). No VOLUME: where
# none is mounted, a read-only root must stop the start, and not be hidden by a volume that nobody knows.
RUN install --directory --owner=65532 --group=0 --mode=0770 /var/lib/aurora-bridge
COPY --from=build /opt/aurora-bridge /opt/aurora-bridge
# A container's loopback is reached by nobody else; which port is published, and to whom, is decided outside.
ENV PATH=/opt/aurora-bridge/bin:$PATH \
    AURORA_BRIDGE_STATE_DIR=/var/lib/aurora-bridge \
    AURORA_BRIDGE_INGRESS__HOST=0.0.0.0 \
    AURORA_BRIDGE_ADMIN__HOST=0.0.0.0
EXPOSE 8080 9090
USER 65532:65532
RUN ["aurora-bridge", "--version"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["aurora-bridge"]
CMD ["serve"]
# Last, because they differ for each commit.
ARG VERSION=unknown
ARG REVISION=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="aurora-bridge" \
    org.opencontainers.image.description="Receives the webhooks of Aurora Solar and publishes each as a canonical event to a Kafka topic." \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.source="${SOURCE}" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
