"""The figure the project stands for, from the shipped file, by the command in the README."""

import re
import subprocess
import sys

from model.checkpoint import Checkpoint
from model.data import Dataset


def test_the_shipped_weights_reach_94_percent(fashion_mnist: Dataset, checkpoint: Checkpoint) -> None:
    result = subprocess.run([sys.executable, "-m", "model.evaluate"], capture_output=True, text=True, timeout=1200)
    assert result.returncode == 0, result.stderr
    found = re.search(r"test accuracy ([\d.]+) % \((\d+) of 10000\)", result.stdout)
    assert found is not None
    assert int(found[2]) >= 9_400
    assert abs(int(found[2]) / 10_000 - checkpoint.metadata.accuracy["test"]) < 0.0005
    for name in fashion_mnist.classes:
        assert name in result.stdout
