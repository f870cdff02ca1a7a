#!/usr/bin/env bash
# Runs deploy/gpu_check.py on a machine with a card and torch but no network. `make gpu-bundle` makes build/gpu.tar.xz.
set -euo pipefail
cd "$(dirname "$0")/.."
python3 -m tarfile -e build/gpu.tar.xz build/gpu
[ -e data ] || ln -s build/gpu/data data
export PYTHONPATH="$PWD/build/gpu/site:$PWD"
exec python3 deploy/gpu_check.py "$@"
