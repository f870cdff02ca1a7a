"""Stage 4 of deploy/gpu_check.py: the training script on this device, for as long as the stage has.

Pictures a second at each size, then the default recipe until time is up. The averaged network comes back in half
precision as average.safetensors, under 16 MiB.
"""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file

from benchmarks.gpu.stage import Options, options, report
from model.train.run_state import RunFolder

SIZES = (48, 64, 96)
SECONDS, LONG = 10.0, 80.0
"""For each size, and for the recipe; counted from when the training has begun."""

GOAL = 0.94
LARGEST_FILE = 16 << 20


def main() -> int:
    chosen = options(__doc__ or "")
    with tempfile.TemporaryDirectory() as folder:
        for side in SIZES[:1] if chosen.small else SIZES:
            one = Path(folder) / str(side)
            _train(chosen, one, 5.0 if chosen.small else SECONDS, "--set", f"phases=[[{side},100]]")
            report(f"{side} px: pictures/s", _rate(one))
        whole = Path(folder) / "default"
        _train(chosen, whole, 5.0 if chosen.small else LONG)
        progress = RunFolder(whole).progress()
        report("default recipe: epochs", progress.epoch)
        report("default recipe: pictures/s", _rate(whole))
        report("default recipe: validation by epoch", [row["validation"] for row in progress.history])
        report(f"default recipe: seconds to {100 * GOAL:.0f} % validation", _seconds_to_goal(progress.history))
        size = _bring_back(whole, chosen.out / "average.safetensors")
        report("averaged network, bytes", size, size < LARGEST_FILE)
    return 0


def _train(chosen: Options, folder: Path, seconds: float, *arguments: str) -> None:
    """Runs model.train in `folder` and asks it to stop, as Ctrl-C does, so many seconds after it began."""
    command = [sys.executable, "-m", "model.train", "--device", chosen.device, "--out", str(folder), *arguments]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    assert process.stderr  # noqa: S101
    while (piece := os.read(process.stderr.fileno(), 4096)) and b"loss" not in piece:
        pass  # the first step is done when the progress bar shows a loss
    try:
        process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        process.communicate()


def _rate(folder: Path) -> float | None:
    """Pictures a second, the first epoch's start-up included."""
    progress = RunFolder(folder).progress()
    if progress.history:
        return float(progress.history[-1]["pictures_per_second"])
    return progress.seen / progress.seconds if progress.seconds else None


def _seconds_to_goal(history: list[dict[str, float]]) -> float | None:
    taken = 0.0
    for row in history:
        taken += row["seconds"]
        if row["validation"] >= GOAL:
            return taken
    return None


def _bring_back(folder: Path, file: Path) -> int:
    """Writes the moving average in half precision; gives the file's size in bytes."""
    with safe_open(RunFolder(folder).state_file, framework="pt") as state:
        names = [name for name in state.keys() if name.startswith("average.")]
        tensors = {name.removeprefix("average."): state.get_tensor(name) for name in names}
    halves = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    save_file({name: tensor.contiguous() for name, tensor in halves.items()}, file)
    return file.stat().st_size


if __name__ == "__main__":
    sys.exit(main())
