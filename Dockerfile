# syntax=docker/dockerfile:1
# The service as an image for amd64 and arm64, without compilers: every dependency comes as a wheel with a known hash.
#   docker build --tag ahi-dicomweb-proxy .
#   docker run --read-only --tmpfs /tmp --publish 8080:8080 --env DB_SECRET_ARN=... --env AWS_DEFAULT_REGION=... \
#       --volume dicomweb-cache:/var/cache/ahi-dicomweb-proxy ahi-dicomweb-proxy
# The digest is that of the index of all processors, so a build takes the image of its own; script/renew-base-image renews it.
ARG PYTHON=3.13-slim-bookworm@sha256:67a1e1f215ccda113cfc024e8639049257e88f273898f595b61476d128d387e8

FROM python:${PYTHON} AS build
WORKDIR /build
COPY requirements.lock ./
RUN python -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check --only-binary=:all: \
        --require-hashes --requirement requirements.lock \
    && /opt/venv/bin/python -m compileall -q -j 0 /opt/venv/lib
# The viewer OHIF at /viewer: docker build --build-arg VIEWER=true. Its digest is in the script; npm comes as a wheel.
ARG VIEWER=false
COPY script/make_viewer.py ./
RUN mkdir -p /opt/viewer \
    && if [ "$VIEWER" = true ]; then /opt/venv/bin/python make_viewer.py /opt/viewer/ohif; fi \
    && /opt/venv/bin/pip uninstall --yes --disable-pip-version-check pip

FROM python:${PYTHON}
# A number and not a name: Kubernetes' runAsNonRoot looks at it. The folders are made here, with their owner, because a
# volume takes both from the image.
RUN groupadd --system --gid 10001 dicomweb \
    && useradd --system --uid 10001 --gid dicomweb --no-create-home --shell /usr/sbin/nologin dicomweb \
    && install --directory --owner dicomweb --group dicomweb --mode 0700 /var/cache/ahi-dicomweb-proxy \
        /var/lib/ahi-dicomweb-proxy
COPY --from=build /opt/venv /opt/venv
COPY --from=build /opt/viewer /opt/viewer
WORKDIR /opt/ahi-dicomweb-proxy
COPY main.py ./
COPY app ./app
COPY qido ./qido
COPY wado ./wado
COPY store ./store
COPY ahi ./ahi
COPY db ./db
COPY dicomweb ./dicomweb
COPY datastore ./datastore
COPY index ./index
COPY runtime ./runtime
RUN ["/opt/venv/bin/python", "-m", "compileall", "-q", "."]
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HOST=0.0.0.0 \
    PORT=8080 \
    EMBEDDED=false \
    CACHE_ROOT=/var/cache/ahi-dicomweb-proxy/cache \
    SPOOL_ROOT=/var/lib/ahi-dicomweb-proxy/spool \
    DATASTORE_ROOT=/var/cache/ahi-dicomweb-proxy/data \
    VIEWER_ROOT=/opt/viewer/ohif
USER 10001:10001
VOLUME ["/var/cache/ahi-dicomweb-proxy", "/var/lib/ahi-dicomweb-proxy", "/tmp"]
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --start-interval=2s --retries=3 CMD ["python", "-m", "app.commands.probe"]
CMD ["python", "main.py"]
