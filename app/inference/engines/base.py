"""What every engine does: the Engine protocol and its answer."""

import logging
from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

log = logging.getLogger(__name__)


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


def device_memory(engine: Engine) -> DeviceMemory | None:
    """None where the device has no memory of its own, or has died."""
    measure: Callable[[], DeviceMemory | None] | None = getattr(engine, "memory", None)
    try:
        return measure() if measure else None
    except Exception as error:  # whatever the driver says: figures are wanted most when the device fails
        log.warning("the device's memory could not be measured: %s", error)
        return None


def lanes(engine: object) -> int:
    """How many batches it computes side by side."""
    return getattr(engine, "lanes", 1)


def ahead(engine: object) -> int:
    """How many more it may be given meanwhile."""
    return getattr(engine, "ahead", 0)
