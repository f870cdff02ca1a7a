"""Chooses the engine and verifies its answers to known pictures before it serves."""

import ctypes
import importlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from app.errors import StartError
from app.inference.engines.base import Engine
from app.inference.engines.batch_size import seconds_per_batch
from model.checkpoint import Checkpoint, graph_file
from model.export.manifest import Export, ExportError
from model.labels import probabilities

if TYPE_CHECKING:  # engines also run where nothing but torch is installed
    from app.settings import Settings

log = logging.getLogger(__name__)

BUILT_IN = {
    "cuda": "app.inference.engines.cuda:CudaEngine",
    "openvino": "app.inference.engines.openvino:OpenVinoEngine",
    "openvino-int8": "app.inference.engines.openvino:OpenVinoInt8Engine",
    "torch": "app.inference.engines.pytorch:TorchEngine",
}
"""The engines' names, and their classes as `module:Class`."""

TRIAL_BATCH = 16
"""Pictures in the batches by which int8 and bf16 are compared."""

TRIALS, MARGIN = 3, 1.1
"""bf16 is chosen if it is MARGIN times as fast as int8 in each of TRIALS. On a busy machine one trial can go either
way, and the choice decides the last digits of the answers."""


class WrongAnswersError(StartError):
    """The engine runs, but its answers are not those that it gave where its export was made."""


def build_engine(settings: "Settings", checkpoint: Checkpoint) -> Engine:
    """The engine that the settings name, verified. Raises StartError.

    Limits numpy's BLAS to one thread: its other threads would take cores from the engine while they wait for work.
    """
    threadpool_limits(1, user_api="blas")
    if settings.engine != "auto":
        return _verified(settings.engine, checkpoint, settings.device)
    if settings.device == "cuda" or (settings.device == "auto" and _has_gpu()):
        try:
            return _verified("cuda", checkpoint, settings.device)
        except StartError as error:
            log.warning("plain torch serves, because the CUDA engine cannot: %s", error)
            return _verified("torch", checkpoint, settings.device)
    return _build_for_cpu(checkpoint, settings.device)


def _verified(name: str, checkpoint: Checkpoint, device: str) -> Engine:
    module, _, attribute = BUILT_IN.get(name, name).partition(":")
    try:
        factory = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise StartError(f"GOOGLENET_ENGINE={name}: {error}") from error
    engine: Engine = factory(checkpoint, device)
    off = golden_error(engine, checkpoint)
    if not off <= engine.tolerance:
        raise WrongAnswersError(
            f"engine {engine.name} is off by {off:.4f} on the golden pictures: it would answer wrongly"
        )
    return engine


def _build_for_cpu(checkpoint: Checkpoint, device: str) -> Engine:
    """int8 if it is accurate enough and fast on this CPU, unless bf16 is faster; otherwise floating point."""
    exported = graph_file(checkpoint.file, "openvino").exists()
    floating_point = "openvino" if exported else "torch"
    if not _accepts_int8(checkpoint):
        if not exported:
            log.warning("%s has no export: python -m model.export would make it serve faster", checkpoint.file)
        return _verified(floating_point, checkpoint, device)
    try:
        int8 = _verified("openvino-int8", checkpoint, device)
    except WrongAnswersError as error:
        log.warning("floating point serves, because int8 cannot on this CPU: %s", error)
        return _verified(floating_point, checkpoint, device)
    try:
        return _verified("openvino", checkpoint, device) if _is_faster_in_bf16(checkpoint, int8) else int8
    except (ExportError, StartError, RuntimeError) as error:  # RuntimeError is OpenVINO's
        log.warning("int8 serves, because bf16 cannot: %s", error)
        return int8


def _accepts_int8(checkpoint: Checkpoint) -> bool:
    """Whether the int8 export exists, is accurate enough and fast on this CPU. Raises StartError."""
    if not graph_file(checkpoint.file, "openvino-int8").with_suffix(".json").exists() or not has_fast_int8():
        return False
    try:
        return Export.read(checkpoint, "openvino-int8").accepted
    except ExportError as error:
        raise StartError(str(error)) from error


def _is_faster_in_bf16(checkpoint: Checkpoint, int8: Engine) -> bool:
    """Times a few batches in both precisions if the CPU has AMX and the bf16 export is accepted.

    Takes about 0.25 s there, longer if bf16 wins. Without AMX, int8 is always faster. Raises ExportError.
    """
    from app.inference.engines.openvino import compile_bf16

    if (
        not has_amx()
        or not graph_file(checkpoint.file, "openvino").exists()
        or (bf16 := compile_bf16(checkpoint)) is None
    ):
        return False
    pixels = checkpoint.golden.pixels
    for _ in range(TRIALS):
        int8_rate, bf16_rate = (TRIAL_BATCH / seconds_per_batch(graph, pixels, TRIAL_BATCH) for graph in (int8, bf16))
        faster = bf16_rate > MARGIN * int8_rate
        if not faster:
            break
    log.info(
        "auto chose %s: %.0f pictures/s in int8, %.0f pictures/s in bf16, batches of %d",
        "bf16" if faster else "int8",
        int8_rate,
        bf16_rate,
        TRIAL_BATCH,
    )
    return faster


def has_fast_int8() -> bool:
    """Whether the CPU has AVX2, with which int8 is twice as fast as single precision; VNNI makes it faster still."""
    return "avx2" in _cpu_flags()


def has_amx() -> bool:
    """Whether the CPU has AMX, which multiplies matrices in bf16 as well as in int8."""
    return "amx_bf16" in _cpu_flags()


def _cpu_flags() -> set[str]:
    try:
        return set(Path("/proc/cpuinfo").read_text().split())
    except OSError:  # not Linux
        return set()


def _has_gpu() -> bool:
    """Asks the NVIDIA driver, so that a start on a CPU does not load torch."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int(0)
    return cuda.cuInit(0) == 0 and cuda.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0


def golden_error(engine: Engine, checkpoint: Checkpoint) -> float:
    """The largest difference to the golden probabilities, those of the checkpoint's known pictures."""
    logits = engine(checkpoint.golden.pixels).logits
    found = probabilities(logits, engine.temperature, checkpoint.metadata.smoothing)
    return float(np.abs(found - engine.golden).max())
