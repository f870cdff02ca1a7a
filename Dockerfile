# The service with its weights. Torch brings the CUDA libraries; on a machine without a GPU it runs on the CPU.
FROM python:3.12-slim

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /srv

# The dependencies change seldom: a layer of their own, from the project's metadata alone.
COPY pyproject.toml constraints.txt README.md LICENSE ./
RUN mkdir -p app model && touch app/__init__.py model/__init__.py \
    && python3 -m pip install -c constraints.txt . && python3 -m pip uninstall -y fashion-googlenet \
    && rm -rf app model build *.egg-info

COPY app app
COPY model model
RUN python3 -m pip install --no-deps . && rm -rf app model build *.egg-info && useradd --system --no-create-home googlenet
USER googlenet

ENV GOOGLENET_HOST=0.0.0.0 GOOGLENET_PORT=8000
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=6s --start-period=60s --retries=3 \
    CMD ["python3", "-c", "import os, urllib.request; urllib.request.urlopen(f'http://127.0.0.1:{os.environ[\"GOOGLENET_PORT\"]}/health', timeout=5)"]
CMD ["python3", "-m", "app"]
