#!/usr/bin/env bash
# deploy/gpu_check.py on a machine with a card and torch but no network: unpacks build/gpu.tar.xz (make gpu-bundle) first.
set -euo pipefail
cd "$(dirname "$0")/.."
python3 -m tarfile -e build/gpu.tar.xz build/gpu
[ -e data ] || ln -s build/gpu/data data
export PYTHONPATH="$PWD/build/gpu/site:$PWD"
exec python3 deploy/gpu_check.py "$@"
