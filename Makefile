# `make` lists the targets.
VENV   := .venv
BENCH  := .venv-bench
FUZZ   := .venv-fuzz
KSERVE := .venv-kserve
RAY    := .venv-ray
PYTHON ?= python3
RUN    := $(VENV)/bin/python
PIP    := $(VENV)/bin/pip install --quiet --disable-pip-version-check -c constraints.txt
# glibc's malloc gives nothing back to the kernel: a quarter faster on a CPU.
KEPT   := MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=100000000000

# What a machine with torch, numpy, Pillow, safetensors, uvloop, httpx and pytest lacks to serve and train.
BUNDLED := annotated-doc annotated-types fastapi fastapi_offline httptools pydantic pydantic_core pydantic-settings \
           prometheus_client python-dotenv starlette threadpoolctl typing-inspection typing_extensions uvicorn
BUNDLE_FOR := manylinux_2_28_x86_64 manylinux_2_17_x86_64 manylinux2014_x86_64 manylinux1_x86_64
DATA := /usr/share/datasets/fashion-mnist

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(VENV)/.everything  ## makes .venv with everything for serving, training and testing

serve: $(VENV)/.serving  ## serves the shipped weights on 127.0.0.1:8000
	$(RUN) -m app

# Two threads of torch would wait for each other while another file's test has one of the cores: three times as long.
test: $(VENV)/.everything $(FUZZ)/.tools  ## runs all tests, two files at a time
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

quick: $(VENV)/.everything  ## runs a few tests of each room, in less than a minute on two cores: tests/quick.txt
	@grep -v -e '^#' -e '^$$' tests/quick.txt | xargs $(RUN) -m pytest -q $(ARGS)

check: $(VENV)/.everything  ## format, lint and types
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

format: $(VENV)/.everything  ## puts the code into the project's format
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

train: $(VENV)/.everything  ## trains the default recipe, or goes on with it; ARGS="--recipe quick" for another
	$(KEPT) $(RUN) -m model.train --resume $(ARGS)

evaluate: $(VENV)/.everything  ## accuracy of the shipped weights on the test set
	$(RUN) -m model.evaluate $(ARGS)

report: $(VENV)/.everything  ## measures everything anew and writes the model card
	$(RUN) -m model.evaluate --report $(ARGS)

calibrate: $(VENV)/.everything  ## fits temperature and outlier detector of the shipped checkpoint, and exports it
	$(RUN) -m model.calibrate $(ARGS)
	$(RUN) -m model.export $(ARGS)

export: $(VENV)/.everything  ## builds from the shipped checkpoint what the engines load, where it has changed
	$(RUN) -m model.export $(ARGS)

fuzz: $(VENV)/.everything $(FUZZ)/.tools  ## 20,000 mutated pictures and forms, 10,000 gRPC messages, then schemathesis with all its checks
	$(RUN) -m tests.fuzzing --count 20000 $(ARGS)
	$(RUN) -m tests.grpc_fuzzing --count 10000
	$(RUN) -m tests.schema $(FUZZ)/bin/schemathesis --max-examples 300

soak: $(VENV)/.everything  ## 80 % of capacity for 20 minutes: errors, memory, latency
	$(RUN) -m tests.soaking $(ARGS)

kserve: $(KSERVE)/.client  ## makes .venv-kserve with KServe's client (450 MB), which make test then tests against too

bench: $(VENV)/.everything $(BENCH)/.peers  ## this service and its peers side by side; ARGS="--quick" for five minutes
	@{ command -v wrk && command -v h2load; } >/dev/null || { echo 'wrk and h2load are needed: apt-get install wrk nghttp2-client'; exit 1; }
	$(RUN) -m benchmarks.servers --peers-python $(BENCH)/bin/python $(ARGS)
	$(RUN) -m benchmarks.grpc_calls

bench-path: $(VENV)/.everything  ## CPU time of one request by stage, without the network
	$(RUN) -m benchmarks.request_stages $(ARGS)

bench-engines: $(VENV)/.everything  ## every engine alone: speed, exactness, share of what the machine can multiply
	$(RUN) -m benchmarks.engines --out benchmarks/results/engines.json $(ARGS)

ray-check: $(RAY)/.ray  ## deploy/ray_serve.py on a local Ray cluster of several nodes
	$(RAY)/bin/python -m tests.ray_serve

bench-fleets: $(RAY)/.ray  ## one process, replicas behind HAProxy, Ray Serve: speed, and what a kill loses
	@{ command -v wrk && command -v haproxy; } >/dev/null || { echo 'wrk and haproxy are needed: apt-get install wrk haproxy'; exit 1; }
	$(RAY)/bin/python -m benchmarks.fleets $(ARGS)

$(RAY)/.ray: pyproject.toml benchmarks/constraints.txt
	$(PYTHON) -m venv $(RAY)
	$(RAY)/bin/pip install --quiet --disable-pip-version-check -c benchmarks/constraints.txt -e '.[ray]'
	touch $@

$(FUZZ)/.tools: constraints.txt
	$(PYTHON) -m venv $(FUZZ)
	$(FUZZ)/bin/pip install --quiet --disable-pip-version-check -c constraints.txt schemathesis
	touch $@

$(KSERVE)/.client: tests/kserve-constraints.txt
	$(PYTHON) -m venv $(KSERVE)
	$(KSERVE)/bin/pip install --quiet --disable-pip-version-check -c tests/kserve-constraints.txt kserve
	touch $@

$(BENCH)/.peers: pyproject.toml benchmarks/constraints.txt
	$(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/pip install --quiet --disable-pip-version-check -c benchmarks/constraints.txt -e '.[bench]'
	touch $@

gpu-check: $(VENV)/.everything  ## proves the GPU path in eight minutes; ARGS="--device cpu --small" tries the same without a card
	$(RUN) deploy/gpu_check.py $(ARGS)

gpu-bundle:  ## build/gpu.tar.xz: what deploy/gpu_check.sh needs on a machine with a card and torch but no network
	rm -rf build/gpu && mkdir -p build/gpu/data
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-deps --no-compile --only-binary=:all: \
	    --python-version 3.12 --implementation cp $(addprefix --platform ,$(BUNDLE_FOR)) \
	    -c constraints.txt --target build/gpu/site $(BUNDLED)
	cp $(DATA)/*.gz build/gpu/data && gunzip build/gpu/data/*.gz
	tar -cf - --exclude='redoc*' --exclude=sboms -C build/gpu site data | xz --lzma2=preset=9e,lc=4,pb=0 > build/gpu.tar.xz

image-check:  ## builds both images without a registry and runs them: sizes, start times; ARGS=cpu for that one
	@command -v buildah >/dev/null && command -v debootstrap >/dev/null || \
	    { echo 'buildah and debootstrap are needed: apt-get install buildah debootstrap'; exit 1; }
	$(PYTHON) deploy/image_check.py $(ARGS)

docs: $(VENV)/.serving  ## rewrites docs/settings.md from the settings class
	$(RUN) -m app.cli.settings_page > docs/settings.md

$(VENV)/.serving: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) -e '.[torch,heif]'
	touch $@

$(VENV)/.everything: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) -e '.[train,evaluate,test,check]'
	touch $@ $(VENV)/.serving

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo 'Python 3.11 or newer is needed: make PYTHON=/path/to/python3.12 …'; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

.PHONY: docs help setup serve test quick check format train evaluate report calibrate export bench bench-path bench-engines fuzz soak kserve image-check gpu-check gpu-bundle ray-check bench-fleets
