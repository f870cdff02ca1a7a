"""The Engine protocol, which every engine implements, and what an engine returns."""

import logging
import math
from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

log = logging.getLogger(__name__)

MIN_PARALLEL_BATCH = 8
"""Batches of at least so many pictures are computed side by side, each on one core; a smaller one on all cores."""


class Outputs(NamedTuple):
    """An engine's outputs, all float32."""

    logits: NDArray[np.float32]
    """[n,classes], before temperature: the means of the maps plus the head's bias."""
    features: NDArray[np.float32]
    """[n,1024], average-pooled."""
    maps: NDArray[np.float32]
    """[n,classes,3,3], class activation maps (Zhou et al. 2016)."""


class DeviceMemory(NamedTuple):
    """Bytes allocated by this engine, used by all processes, and in total."""

    allocated: int
    used: int
    limit: int


class Engine(Protocol):
    """uint8 [n,96,96] → Outputs, for any n ≥ 1. Up to `lanes` + `ahead` threads call it at a time.

    It is built as Class(checkpoint, device), where device is auto, cpu or cuda, and raises StartError if it cannot run.
    On a device with its own memory it may also have `memory() -> DeviceMemory`, which any thread may call. If it
    computes larger batches in parts, one after the other, `max_batch` may say how many pictures a part has.
    """

    name: str
    device: str
    precision: str
    temperature: float
    """Divides the logits, in model.labels.probabilities."""
    threshold: float | None
    """Pictures with a higher out-of-distribution score are flagged; None without a detector."""
    lanes: int
    """Batches that it computes side by side; 1 if the attribute is missing."""
    ahead: int
    """Batches that may be queued behind those, so that it computes without a pause; 0 if the attribute is missing."""
    golden: NDArray[np.float32]
    """The probabilities of the checkpoint's golden pictures as this engine should give them, [k,classes]."""
    tolerance: float
    """Largest allowed difference of a probability to its golden one."""

    def __call__(self, pixels: NDArray[np.uint8]) -> Outputs: ...


def device_memory(engine: Engine) -> DeviceMemory | None:
    """None if the device has no memory of its own, or has failed."""
    measure: Callable[[], DeviceMemory | None] | None = getattr(engine, "memory", None)
    try:
        return measure() if measure else None
    except Exception as error:  # of any kind: the metrics must be answered when the device fails
        log.warning("the device's memory could not be measured: %s", error)
        return None


def lanes(engine: object) -> int:
    """Batches that the engine computes side by side."""
    return getattr(engine, "lanes", 1)


def max_batch(engine: object) -> float:
    """Pictures that the engine computes at a time in one lane; infinite if it does not limit them."""
    return getattr(engine, "max_batch", math.inf)


def ahead(engine: object) -> int:
    """Batches that may be queued behind those."""
    return getattr(engine, "ahead", 0)
