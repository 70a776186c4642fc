# The api with its console, and the operator: one image, two commands.
#
#   docker build -t captionfleet/captionfleet .
#
# BASE, PACKAGE_INDEX and UV_NO_CACHE are those of Dockerfile.worker. There is no torch in here.
# Runs as uid 10001 with a read-only root; it writes to /tmp, /data and /catalog/managed alone.
# Without Kubernetes manifests are mounted at /catalog/files; what the console adds is in managed.
ARG BASE=python:3.11-slim-bookworm
FROM ${BASE}

RUN echo 'captionfleet:x:10001:10001::/tmp:/usr/sbin/nologin' >>/etc/passwd \
 && echo 'captionfleet:x:10001:' >>/etc/group \
 && install -d -o 10001 -g 10001 /data /catalog/managed /catalog/files

ARG PACKAGE_INDEX
ARG UV_NO_CACHE=1
COPY locks/uv.txt locks/api.txt locks/operator.txt /tmp/locks/
RUN ${PACKAGE_INDEX:+export PIP_INDEX_URL="$PACKAGE_INDEX" UV_DEFAULT_INDEX="$PACKAGE_INDEX"} \
 && python3 -m venv /tmp/uv \
 && /tmp/uv/bin/pip install --quiet --no-cache-dir --require-hashes -r /tmp/locks/uv.txt \
 && python3 -m venv --without-pip /opt/captionfleet \
 && /tmp/uv/bin/uv pip install --quiet --python /opt/captionfleet/bin/python --link-mode copy \
      --compile-bytecode --require-hashes -r /tmp/locks/api.txt -r /tmp/locks/operator.txt \
 && rm -rf /tmp/uv /tmp/locks

ENV PATH=/opt/captionfleet/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    CAPTIONFLEET_DATA=/data

# The api tells its version, which Python looks up in the metadata of an installed package.
WORKDIR /app
COPY contract api operator pyproject.toml ./
RUN version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml) \
 && mkdir "captionfleet-$version.dist-info" \
 && printf 'Metadata-Version: 2.1\nName: captionfleet\nVersion: %s\n' "$version" \
      >"captionfleet-$version.dist-info/METADATA" \
 && rm pyproject.toml \
 && python -m compileall -q .

EXPOSE 8000 8080
USER 10001:10001
CMD ["python", "-m", "captionfleet_api"]
