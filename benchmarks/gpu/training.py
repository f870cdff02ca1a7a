"""Stage 4 of deploy/gpu_check.py: runs the training script on this device until the stage's time is up.

Reports pictures per second at each picture size, then trains by the default recipe. The averaged network is written in
half precision to average.safetensors, under 16 MiB.
"""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file

from benchmarks.gpu.reporting import Options, parse_options, report
from model.train.run_state import RunFolder

PICTURE_SIDES = (48, 64, 96)
SIDE_SECONDS, RECIPE_SECONDS = 10.0, 80.0
"""Training time for each picture size, and for the default recipe."""

GOAL_ACCURACY = 0.94
LARGEST_FILE = 16 << 20


def main() -> int:
    options = parse_options(__doc__ or "")
    with tempfile.TemporaryDirectory() as folder:
        for side in PICTURE_SIDES[:1] if options.small else PICTURE_SIDES:
            one = Path(folder) / str(side)
            _train(options, one, 5.0 if options.small else SIDE_SECONDS, "--set", f"phases=[[{side},100]]")
            report(f"{side} px: pictures/s", _rate(one))
        whole = Path(folder) / "default"
        _train(options, whole, 5.0 if options.small else RECIPE_SECONDS)
        progress = RunFolder(whole).progress()
        report("default recipe: epochs", progress.epoch)
        report("default recipe: pictures/s", _rate(whole))
        report("default recipe: validation by epoch", [row["validation"] for row in progress.history])
        report(f"default recipe: seconds to {100 * GOAL_ACCURACY:.0f} % validation", _seconds_to_goal(progress.history))
        size = _write_average(whole, options.out / "average.safetensors")
        report("averaged network, bytes", size, size < LARGEST_FILE)
    return 0


def _train(options: Options, folder: Path, seconds: float, *arguments: str) -> None:
    """Runs model.train in `folder` and stops it as Ctrl-C does, `seconds` after its first step."""
    command = [sys.executable, "-m", "model.train", "--device", options.device, "--out", str(folder), *arguments]
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
    """Pictures per second, including the start of the first epoch."""
    progress = RunFolder(folder).progress()
    if progress.history:
        return float(progress.history[-1]["pictures_per_second"])
    return progress.seen / progress.seconds if progress.seconds else None


def _seconds_to_goal(history: list[dict[str, float]]) -> float | None:
    taken = 0.0
    for row in history:
        taken += row["seconds"]
        if row["validation"] >= GOAL_ACCURACY:
            return taken
    return None


def _write_average(folder: Path, file: Path) -> int:
    """Writes the averaged network in half precision. Returns the file's size in bytes."""
    with safe_open(RunFolder(folder).state_file, framework="pt") as state:
        names = [name for name in state.keys() if name.startswith("average.")]
        tensors = {name.removeprefix("average."): state.get_tensor(name) for name in names}
    halves = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    save_file({name: tensor.contiguous() for name, tensor in halves.items()}, file)
    return file.stat().st_size


if __name__ == "__main__":
    sys.exit(main())
