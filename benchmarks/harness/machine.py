"""Describes the machine of a measurement, and measures how fast it multiplies matrices."""

import importlib.metadata
import platform
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from app.inference.cpu import usable_cores

PACKAGES = ("torch", "openvino", "fastapi", "uvicorn", "numpy", "pillow")
MATRIX_SIDE = {"cpu": 2048, "cuda": 8192}
TORCH_DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16", "int8": "int8"}
VECTOR_INSTRUCTIONS = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
FASTEST = {
    "int8": {"amx_int8": "AMX", "avx512_vnni": "AVX-512 VNNI", "avx_vnni": "AVX-VNNI", "avx2": "AVX2"},
    "bf16": {"amx_bf16": "AMX", "avx512_bf16": "AVX-512 BF16"},
    "fp32": {"avx512f": "AVX-512", "avx2": "AVX2"},
}
"""By precision, the CPU features that an engine computes with, the fastest first."""

MULTIPLY_SECONDS = 1.0
"""How long the matrix product is repeated, at least."""


def describe() -> dict[str, Any]:
    """Processor, number of cores, versions, commit and time."""
    return {
        "processor": _processor(),
        "cores": usable_cores(),
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "commit": _commit(),
        "when": datetime.now(UTC).isoformat(timespec="minutes"),
    }


def _processor() -> str:
    """Its name, and what it has to multiply with: that tells two of the same name apart."""
    known = _cpuinfo()
    flags = set(known.get("flags", "").split())
    return " ".join(
        [known.get("model name", platform.machine()), *(name for name in VECTOR_INSTRUCTIONS if name in flags)]
    )


def fastest_feature(precision: str) -> str:
    """The CPU feature that computes in `precision` (int8, bf16 or fp32) on this machine, e.g. AVX-512 VNNI."""
    flags = set(_cpuinfo().get("flags", "").split())
    return next((name for flag, name in FASTEST.get(precision, {}).items() if flag in flags), "no vector extension")


def _cpuinfo() -> dict[str, str]:
    """The last core's fields in /proc/cpuinfo; empty where there is none."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return {}
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True).stdout.strip()
    except FileNotFoundError:
        return ""


def multiply_rate(device: str, precision: str) -> float | None:
    """Operations per second of a large square matrix product in torch, the best of many. A multiply-add counts as two.

    `precision` is fp32 (without tf32), bf16, int8, or fp16 on a GPU. Returns None where torch has no fast product.
    """
    import torch  # imported here: the environment in which Ray Serve is measured has no torch

    if precision not in TORCH_DTYPES or (device, precision) == ("cpu", "fp16"):
        return None
    size = MATRIX_SIDE[device]
    a, b = (torch.randn(size, size, device=device) for _ in range(2))
    if precision == "int8":
        a, b, product = (10 * a).to(torch.int8), (10 * b).to(torch.int8), torch._int_mm
    else:
        dtype = getattr(torch, TORCH_DTYPES[precision])
        a, b, product = a.to(dtype), b.to(dtype), torch.matmul
    best, until = float("inf"), time.perf_counter() + MULTIPLY_SECONDS
    while (started := time.perf_counter()) < until:
        product(a, b)
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - started)
    return 2 * size**3 / best
