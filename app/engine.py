"""What every engine does, choosing one, and proving it before it serves."""

import ctypes
import importlib
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from model.checkpoint import Checkpoint, graph_file
from model.exported import Export, ExportError
from model.labels import probabilities

if TYPE_CHECKING:  # engines also run where nothing but torch is installed
    from app.settings import Settings

log = logging.getLogger(__name__)

BUILT_IN = {
    "cuda": "app.engines.cuda:CudaEngine",
    "openvino": "app.engines.openvino:OpenVinoEngine",
    "openvino-int8": "app.engines.openvino:OpenVinoInt8Engine",
    "torch": "app.engines.plain:TorchEngine",
}
"""The engines that have a name, as `module:Class`."""

BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
"""Measured at warm-up."""

GAIN = 1.05
"""Warm-up tries no larger batches once one is not so many times as fast as the best of the smaller ones."""

RUNS, ENOUGH = 3, 0.05
"""Of each size, and seconds after which no further one is begun: long ones vary little."""

LONGEST_BATCH = 0.25
"""Seconds: warm-up tries no larger batches once one takes longer, however well they would do."""

FEWEST = 16
"""Smaller batches are not settled for: on a machine that hiccups, warm-up may find one of them best by chance."""

USEFUL = 0.9
"""The batch size in use is the smallest that reaches this share of the best rate: larger ones only add waiting."""


class StartError(Exception):
    """The service cannot start; the message is one line for the operator."""


class Outputs(NamedTuple):
    """All float32; the logits are before temperature, the maps' means plus the head's bias are the logits."""

    logits: NDArray[np.float32]
    """[n,classes]."""
    features: NDArray[np.float32]
    """[n,1024], pooled."""
    maps: NDArray[np.float32]
    """[n,classes,3,3], class activation maps."""


class DeviceMemory(NamedTuple):
    """Bytes: taken by this engine, in use by whomever, and there at all."""

    allocated: int
    used: int
    limit: int


class Engine(Protocol):
    """uint8 [n,96,96] → Outputs, for any n ≥ 1. Used by as many threads at a time as it has lanes.

    Built as Class(checkpoint, device), device being auto, cpu or cuda; raises StartError if it cannot run. One on a
    device with memory of its own may also have `memory() -> DeviceMemory`, which any thread may call.
    """

    name: str
    device: str
    precision: str
    temperature: float
    """Of model.labels.probabilities."""
    threshold: float | None
    """Pictures whose out-of-distribution score is higher are flagged; None where there is no detector."""
    lanes: int
    """Batches that it computes side by side; one that has no such attribute computes one."""
    golden: NDArray[np.float32]
    """What the checkpoint's golden pictures must get from this very engine, [k,classes] …"""
    tolerance: float
    """… and how far a probability may be off."""

    def __call__(self, pixels: NDArray[np.uint8]) -> Outputs: ...


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
    return _verified(_choose_for_cpu(checkpoint), checkpoint, settings.device)


def _verified(name: str, checkpoint: Checkpoint, device: str) -> Engine:
    module, _, attribute = BUILT_IN.get(name, name).partition(":")
    try:
        factory = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise StartError(f"GOOGLENET_ENGINE={name}: {error}") from error
    engine: Engine = factory(checkpoint, device)
    off = golden_error(engine, checkpoint)
    if not off <= engine.tolerance:
        raise StartError(f"engine {engine.name} is off by {off:.4f} on the golden pictures: it would answer wrongly")
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


def device_memory(engine: Engine) -> DeviceMemory | None:
    """None where the device has no memory of its own, or has died."""
    measure: Callable[[], DeviceMemory | None] | None = getattr(engine, "memory", None)
    try:
        return measure() if measure else None
    except Exception as error:  # whatever the driver says: figures are wanted most when the device fails
        log.warning("the device's memory could not be measured: %s", error)
        return None


def warm_up(engine: Engine, pixels: NDArray[np.uint8]) -> dict[int, float]:
    """Seconds per batch, by batch size: the best of a few runs of each, on `pixels` [k,96,96] repeated.

    All lanes run side by side, so that n batches in t seconds make t/n seconds per batch.
    """
    engine(pixels)
    count = lanes(engine)
    seconds: dict[int, float] = {}
    with ThreadPoolExecutor(count) as threads:
        for size in BATCH_SIZES:
            batches = count * [np.resize(pixels, (size, *pixels.shape[1:]))]
            taken = _timed(engine, batches, threads)
            best = max((n / s for n, s in seconds.items()), default=0.0)
            seconds[size] = taken / count
            if size > FEWEST and size / seconds[size] < GAIN * best:
                break
            if taken > LONGEST_BATCH and size >= 8:  # fewer would be no measurement on a machine that hiccups
                break
    return seconds


def useful_batch_size(seconds: dict[int, float]) -> int:
    """The smallest batch size of at least 90 % of the best rate, and FEWEST at least, unless those take too long."""
    rates = {size: size / taken for size, taken in seconds.items()}
    best = min(size for size, rate in rates.items() if rate >= USEFUL * max(rates.values()))
    return max(best, *(size for size, taken in seconds.items() if size <= FEWEST and taken <= LONGEST_BATCH / 4), 1)


def lanes(engine: Engine) -> int:
    """How many threads may use it at a time."""
    return getattr(engine, "lanes", 1)


def _timed(engine: Engine, batches: list[NDArray[np.uint8]], threads: ThreadPoolExecutor) -> float:
    """Seconds for the batches side by side, the best of some runs."""
    times: list[float] = []
    while not times or (len(times) < RUNS and sum(times) < ENOUGH):
        started = time.perf_counter()
        for _ in threads.map(engine, batches):
            pass
        times.append(time.perf_counter() - started)
    return min(times)
