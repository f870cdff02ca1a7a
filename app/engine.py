"""What every engine does, choosing one, and proving it before it serves."""

import ctypes
import importlib
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
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
"""Among which the largest in use is chosen …"""

START = 16
"""… beginning here, upwards while they are quick and that pays, downwards only if these take too long."""

LONGEST_BATCH, QUICK = 0.125, 0.03
"""Seconds, all lanes busy: what takes longer is not chosen, however well it does; nothing larger than what takes longer
than the second is tried, for it would gain little and delay the start."""

USEFUL = 0.9
"""The batch size in use is the smallest that reaches this share of the best rate: larger ones only add waiting."""

RUNS, ENOUGH = (2, 4), 0.03
"""Of each size, at least and at most, and seconds after which no more than the least are run."""


class StartError(Exception):
    """The service cannot start; the message is one line for the operator."""


class WrongAnswersError(StartError):
    """The engine runs, but not as it did where its export was made."""


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
    """uint8 [n,96,96] → Outputs, for any n ≥ 1. Used by as many threads at a time as it has lanes, and those ahead.

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
    ahead: int
    """Batches that it takes beyond those, to go on without a pause; without the attribute none."""
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


def device_memory(engine: Engine) -> DeviceMemory | None:
    """None where the device has no memory of its own, or has died."""
    measure: Callable[[], DeviceMemory | None] | None = getattr(engine, "memory", None)
    try:
        return measure() if measure else None
    except Exception as error:  # whatever the driver says: figures are wanted most when the device fails
        log.warning("the device's memory could not be measured: %s", error)
        return None


def warm_up(engine: Engine, pixels: NDArray[np.uint8]) -> dict[int, float]:
    """Seconds per batch, by those batch sizes that come into question, on `pixels` [k,96,96] repeated."""
    engine(pixels[:1])
    count, i = lanes(engine), BATCH_SIZES.index(START)
    seconds = {START: seconds_per_batch(engine, pixels, START)}
    for smaller, size in pairwise(BATCH_SIZES[i:]):
        if useful_batch_size(seconds) < smaller or count * seconds[smaller] > QUICK:
            break
        seconds[size] = seconds_per_batch(engine, pixels, size)
    for larger, size in pairwise(BATCH_SIZES[i::-1]):
        if count * seconds[larger] <= LONGEST_BATCH:
            break
        taken = seconds_per_batch(engine, pixels, size)
        if taken > USEFUL * seconds[larger]:  # it is not for the pictures that it takes so long
            break
        seconds = {size: taken}
    return seconds


def useful_batch_size(seconds: dict[int, float]) -> int:
    """The smallest batch size of at least 90 % of the best rate, by seconds per batch."""
    rates = {size: size / taken for size, taken in seconds.items()}
    return min(size for size, rate in rates.items() if rate >= USEFUL * max(rates.values()))


def seconds_per_batch(engine: Engine, pixels: NDArray[np.uint8], size: int) -> float:
    """The best of some runs, on `pixels` [k,96,96] repeated.

    All lanes run side by side, so that n batches in t seconds make t/n seconds per batch.
    """
    count, times = lanes(engine), list[float]()
    batches = count * [np.resize(pixels, (size, *pixels.shape[1:]))]
    with ThreadPoolExecutor(count) as threads:
        while len(times) < RUNS[0] or (len(times) < RUNS[1] and sum(times) < ENOUGH):
            started = time.perf_counter()
            list(threads.map(engine, batches))
            times.append(time.perf_counter() - started)
    return min(times) / count


def lanes(engine: Engine) -> int:
    """How many batches it computes side by side."""
    return getattr(engine, "lanes", 1)


def ahead(engine: Engine) -> int:
    """How many more it may be given meanwhile."""
    return getattr(engine, "ahead", 0)
