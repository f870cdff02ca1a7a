"""Engines that misbehave on purpose; a real server loads them by GOOGLENET_ENGINE=support.faults:Name."""

import logging
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.inference.engines.base import DeviceMemory, Outputs
from app.inference.engines.pytorch import TorchEngine
from model.checkpoint import Checkpoint

SHIPPED_NAME = "googlenet-fashion-mnist"


class Faulty(TorchEngine):
    """Works until the file named by FAULT appears; then every call does what `fail` does."""

    def __init__(self, checkpoint: Checkpoint, device: str) -> None:
        super().__init__(checkpoint, device)
        self.trigger = Path(os.environ.get("FAULT", "/nonexistent"))

    def __call__(self, pixels: NDArray[np.uint8]) -> Outputs:
        outputs = super().__call__(pixels)
        return self.fail(pixels, outputs) if self.trigger.exists() else outputs

    def fail(self, pixels: NDArray[np.uint8], outputs: Outputs) -> Outputs:
        raise NotImplementedError


class Poisoned(Faulty):
    """Raises if one picture of the batch is all white."""

    def __call__(self, pixels: NDArray[np.uint8]) -> Outputs:
        if (pixels == 255).all(axis=(1, 2)).any():
            raise RuntimeError("poison")
        return super().__call__(pixels)


class ModuleLister(TorchEngine):
    """Logs at every call which of these modules the server has imported."""

    LISTED = ("opentelemetry.sdk", "opentelemetry.exporter", "opentelemetry.proto", "app.tracing")

    def __call__(self, pixels: NDArray[np.uint8]) -> Outputs:
        logging.getLogger(__name__).info("imported: %s", [name for name in self.LISTED if name in sys.modules])
        return super().__call__(pixels)


class NotANumber(Faulty):
    """Answers with NaN."""

    def fail(self, pixels: NDArray[np.uint8], outputs: Outputs) -> Outputs:
        return outputs._replace(logits=outputs.logits * np.nan)


class Short(Faulty):
    """Answers with one row too few."""

    def fail(self, pixels: NDArray[np.uint8], outputs: Outputs) -> Outputs:
        return outputs._replace(logits=outputs.logits[1:])


class Hanging(Faulty):
    """Does not come back until a byte can be read from the pipe that the trigger is."""

    def fail(self, pixels: NDArray[np.uint8], outputs: Outputs) -> Outputs:
        self.trigger.read_bytes()
        return outputs


class OldHanging(Hanging):
    """Hangs only with the shipped checkpoint."""

    def __init__(self, checkpoint: Checkpoint, device: str) -> None:
        super().__init__(checkpoint, device)
        if checkpoint.metadata.name != SHIPPED_NAME:
            self.trigger = Path("/nonexistent")


class BuildHanging(Faulty):
    """Does not get built until a byte can be read from the pipe that the trigger is."""

    def __init__(self, checkpoint: Checkpoint, device: str) -> None:
        super().__init__(checkpoint, device)
        if self.trigger.exists():
            self.trigger.read_bytes()

    def fail(self, pixels: NDArray[np.uint8], outputs: Outputs) -> Outputs:
        return outputs


class OldMortal(Faulty):
    """Dies when the trigger appears, and another with the shipped checkpoint is not built until the pipe is read."""

    def __init__(self, checkpoint: Checkpoint, device: str) -> None:
        super().__init__(checkpoint, device)
        if checkpoint.metadata.name != SHIPPED_NAME:
            self.trigger = Path("/nonexistent")
        elif self.trigger.exists():
            self.trigger.read_bytes()

    def fail(self, pixels: NDArray[np.uint8], outputs: Outputs) -> Outputs:
        raise RuntimeError("the device is gone")


class Changing(Faulty):
    """Is of another kind when it is built while the trigger is there."""

    def __init__(self, checkpoint: Checkpoint, device: str) -> None:
        super().__init__(checkpoint, device)
        if self.trigger.exists():
            self.precision = "bf16"

    def fail(self, pixels: NDArray[np.uint8], outputs: Outputs) -> Outputs:
        return outputs


class Slow(Faulty):
    """Takes a tenth of a second for every batch."""

    def fail(self, pixels: NDArray[np.uint8], outputs: Outputs) -> Outputs:
        time.sleep(0.1)
        return outputs


class Wrong(Faulty):
    """Answers with the classes in the wrong order."""

    def fail(self, pixels: NDArray[np.uint8], outputs: Outputs) -> Outputs:
        return outputs._replace(logits=outputs.logits[:, ::-1].copy())


class WrongUntilReplaced(Wrong):
    """Answers wrongly from when the trigger appears, which it takes away, but only where a picture comes alone.

    Only another in its place does not.
    """

    broken = False

    def __call__(self, pixels: NDArray[np.uint8]) -> Outputs:
        outputs = TorchEngine.__call__(self, pixels)
        if self.trigger.exists():
            self.break_down()
        return self.fail(pixels, outputs) if self.broken and len(pixels) == 1 else outputs

    def break_down(self) -> None:
        self.trigger.unlink()
        self.broken = True


class WrongAfterHanging(WrongUntilReplaced):
    """Hangs as Hanging does, and then takes half a second for every wrong answer."""

    def break_down(self) -> None:
        self.trigger.read_bytes()
        self.broken = True

    def fail(self, pixels: NDArray[np.uint8], outputs: Outputs) -> Outputs:
        time.sleep(0.5)
        return super().fail(pixels, outputs)


class WrongFromTheStart(Wrong):
    def __call__(self, pixels: NDArray[np.uint8]) -> Outputs:
        return self.fail(pixels, super().__call__(pixels))


class HungUp(TorchEngine):
    """While it is loaded for the first time its process gets a SIGHUP, and so does a supervisor."""

    def __init__(self, checkpoint: Checkpoint, device: str) -> None:
        super().__init__(checkpoint, device)
        with suppress(FileExistsError):
            Path(os.environ["FAULT"]).touch(exist_ok=False)
            os.kill(os.getpid(), signal.SIGHUP)
            if multiprocessing.parent_process():
                os.kill(os.getppid(), signal.SIGHUP)


class Mortal(Faulty):
    """Dies when the trigger appears, and takes it away; only another in its place works."""

    dead = False

    def __call__(self, pixels: NDArray[np.uint8]) -> Outputs:
        if self.dead:
            raise RuntimeError("the device is gone")
        return super().__call__(pixels)

    def fail(self, pixels: NDArray[np.uint8], outputs: Outputs) -> Outputs:
        self.trigger.unlink()
        self.dead = True
        raise RuntimeError("the device is gone")


class Unmeasurable(Mortal):
    """Once one has died, every other in its place cannot tell about its memory, in a way that no engine may."""

    died = False

    def fail(self, pixels: NDArray[np.uint8], outputs: Outputs) -> Outputs:
        type(self).died = True
        return super().fail(pixels, outputs)

    def memory(self) -> DeviceMemory | None:
        if self.died:
            raise SystemExit("no memory is left to tell of memory")
        return None


class Dead(Faulty):
    """Fails, and so does every other that is put in its place."""

    def fail(self, pixels: NDArray[np.uint8], outputs: Outputs) -> Outputs:
        raise RuntimeError("the device is gone")


class Quitting(Faulty):
    """Raises what is no Exception, and would end the thread."""

    def fail(self, pixels: NDArray[np.uint8], outputs: Outputs) -> Outputs:
        raise SystemExit("quit")


class OutOfMemoryError(RuntimeError):
    """Called as torch's is."""


class Small(Faulty):
    """Has memory for batches of two."""

    def fail(self, pixels: NDArray[np.uint8], outputs: Outputs) -> Outputs:
        if len(pixels) > 2:
            raise OutOfMemoryError("out of memory")
        return outputs


class WithMemory(Faulty):
    """On a device with memory of its own, which no longer tells about it once the trigger appears."""

    def fail(self, pixels: NDArray[np.uint8], outputs: Outputs) -> Outputs:
        return outputs

    def memory(self) -> DeviceMemory:
        if self.trigger.exists():
            raise RuntimeError("the device is gone")
        return DeviceMemory(allocated=1 << 30, used=3 << 30, limit=80 << 30)


@contextmanager
def held(pipe: Path) -> Iterator[None]:
    """Entered once somebody hangs reading the pipe, who goes on at the end; later readers no longer hang."""
    writer = os.open(pipe, os.O_WRONLY)
    try:
        yield
    finally:
        pipe.unlink()
        os.close(writer)


def release(pipe: Path) -> None:
    """Lets the engine, which reads the pipe, go on; later calls no longer hang."""
    with held(pipe):
        pass
