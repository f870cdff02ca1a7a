# The service with its weights, for NVIDIA cards (gpu, the default) or without torch (--target cpu).
ARG BASE=docker.io/library/python:3.12-slim

# pip, and the environment it fills, which stays without it. An image rounds its files' times, so that modules compiled
# by pip would look out of date, and be compiled again at every start: COMPILE makes them independent of times.
FROM ${BASE} AS tools
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore \
    COMPILE="/opt/googlenet/bin/python3 -m compileall -qf --invalidation-mode unchecked-hash -x /py312_ /opt/googlenet/lib"
RUN python3 -m venv /tools && /tools/bin/pip install "pip>=25" && python3 -m venv --without-pip /opt/googlenet
ENV PATH=/tools/bin:$PATH PIP_PYTHON=/opt/googlenet/bin/python3
WORKDIR /source

# The service alone: what changes often is a small layer of its own.
FROM tools AS code
COPY pyproject.toml README.md LICENSE ./
COPY app app
COPY model model
RUN pip install --no-compile --no-deps . && $COMPILE

# What both images are. The library is compiled, for nobody could store that in a read-only file system.
FROM ${BASE} AS runtime
RUN useradd --uid 10001 --no-log-init --no-create-home --shell /usr/sbin/nologin googlenet \
    && python3 -m compileall -q -x '/(test|tests|lib2to3|idlelib|site-packages|dist-packages)/' \
       "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
ENV PATH=/opt/googlenet/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PYTHONSAFEPATH=1 HOME=/tmp \
    GOOGLENET_HOST=0.0.0.0 GOOGLENET_PORT=8000
USER 10001:10001
WORKDIR /
EXPOSE 8000
# gRPC: the extra grpc, GOOGLENET_GRPC_PORT=8001 and EXPOSE 8001
HEALTHCHECK --interval=10s --timeout=6s --start-period=60s --retries=3 \
    CMD ["python3", "-c", "import os, urllib.request as r; r.build_opener(r.ProxyHandler({})).open(f'http://127.0.0.1:{os.environ[\"GOOGLENET_PORT\"]}/health', timeout=5)"]
CMD ["python3", "-m", "app"]
LABEL org.opencontainers.image.title="fashion-googlenet" \
      org.opencontainers.image.description="Fashion-MNIST class probabilities for pictures of garments, over HTTP" \
      org.opencontainers.image.licenses="MIT"

FROM tools AS packages-cpu
COPY requirements-cpu.txt ./
RUN pip install --no-compile --no-deps -r requirements-cpu.txt && $COMPILE

FROM runtime AS cpu
ENV GOOGLENET_DEVICE=cpu
COPY --from=packages-cpu /opt/googlenet /opt/googlenet
COPY --from=code /opt/googlenet /opt/googlenet

# From the project's metadata alone, so that a change of the code does not bring gigabytes anew.
FROM tools AS packages-gpu
COPY pyproject.toml constraints.txt README.md LICENSE ./
RUN mkdir app model && touch app/__init__.py model/__init__.py \
    && pip install --no-compile -c constraints.txt '.[torch,heif,tracing]' && pip uninstall -y fashion-googlenet && $COMPILE

FROM runtime AS gpu
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=packages-gpu /opt/googlenet /opt/googlenet
COPY --from=code /opt/googlenet /opt/googlenet
