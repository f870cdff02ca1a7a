"""Chooses the engine, and proves on known pictures that it answers correctly before it serves."""

import ctypes
import importlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from app.errors import StartError
from app.inference.engines.base import Engine
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
"""The engines that have a name, as `module:Class`."""


class WrongAnswersError(StartError):
    """The engine runs, but not as it did where its export was made."""


def build(settings: "Settings", checkpoint: Checkpoint) -> Engine:
    """The engine that the settings name, verified. Raises StartError.

    It has the cores; numpy's own threads, which would wait for work on them, are ended.
    """
    threadpool_limits(1, user_api="blas")
    if settings.engine != "auto":
        return _verified(settings.engine, checkpoint, settings.device)
    if settings.device == "cuda" or (settings.device == "auto" and _has_gpu()):
        try:
            return _verified("cuda", checkpoint, settings.device)
        except StartError as error:
            log.warning("plain torch serves, for the CUDA engine cannot: %s", error)
            return _verified("torch", checkpoint, settings.device)
    name = _choose_for_cpu(checkpoint)
    try:
        return _verified(name, checkpoint, settings.device)
    except WrongAnswersError as error:
        if name != "openvino-int8":
            raise
        log.warning("floating point serves, for int8 cannot on this CPU: %s", error)
        exported = graph_file(checkpoint.file, "openvino").exists()
        return _verified("openvino" if exported else "torch", checkpoint, settings.device)


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


def _choose_for_cpu(checkpoint: Checkpoint) -> str:
    """OpenVINO if the checkpoint has been exported for it, in int8 where that is as good and the CPU is fast at it."""
    int8 = graph_file(checkpoint.file, "openvino-int8").with_suffix(".json")
    try:
        if int8.exists() and has_fast_int8() and Export.read(checkpoint, "openvino-int8").accepted:
            return "openvino-int8"
    except ExportError as error:
        raise StartError(str(error)) from error
    if graph_file(checkpoint.file, "openvino").exists():
        return "openvino"
    log.warning("%s has no export: python -m model.export would make it serve faster", checkpoint.file)
    return "torch"


def has_fast_int8() -> bool:
    """Whether the CPU has AVX2, with which int8 is twice as fast as single precision; with VNNI on top it is more."""
    try:
        flags = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return False
    return "avx2" in flags


def _has_gpu() -> bool:
    """Asks the NVIDIA driver itself, so that a CPU start need not load torch to find out."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int(0)
    return cuda.cuInit(0) == 0 and cuda.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0


def golden_error(engine: Engine, checkpoint: Checkpoint) -> float:
    """The largest difference to the golden pictures' probabilities."""
    logits = engine(checkpoint.golden.pixels).logits
    found = probabilities(logits, engine.temperature, checkpoint.metadata.smoothing)
    return float(np.abs(found - engine.golden).max())
