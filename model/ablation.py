"""What each ingredient of the recipe is worth: short runs, each with one thing changed.

    python -m model.ablation --out runs/ablation

Prints a Markdown table of validation accuracy, sorted; a run that was stopped goes on. Six epochs at 32 px say what
pays in a short run: what regularises pays later, or not at all here.
"""

import argparse
import sys
from pathlib import Path

import torch

from model import data
from model.recipe import RECIPES
from model.run import Run
from model.train import Trainer

BASE = ["phases=[[32,6]]", "restarts=[]", "warmup_epochs=0.5"]

CHANGES = {
    "as it is": [],
    "no normalisation of batches (the book's network)": ["batch_norm=false"],
    "pixels 0–1, not standardised": ["normalise=false"],
    "not mirrored": ["flip=false"],
    "not shifted": ["shift=0"],
    "nothing erased": ["erase=0"],
    "some re-made": ["remake=0.25"],
    "some drawn": ["draw=0.1"],
    "labels not smoothed": ["label_smoothing=0"],
    "no weight decay": ["weight_decay=0"],
    "no moving average": ["average_decay=0"],
    "no momentum": ["momentum=0"],
    "constant learning rate": ['schedule="constant"'],
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"), metavar="DIR")
    parser.add_argument("--seeds", type=int, default=1, metavar="N")
    parser.add_argument("--data", type=Path, metavar="DIR")
    arguments = parser.parse_args()
    dataset = data.load(arguments.data)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    found: dict[str, list[float]] = {}
    for seed in range(arguments.seeds):
        for name, changes in CHANGES.items():
            run = Run(arguments.out / f"{'-'.join(changes) or 'base'}-{seed}")
            trainer = Trainer(RECIPES["default"].changed([*BASE, *changes]), dataset, seed, device, run)
            if run.exists():
                trainer.resume()
            trainer.fit()
            found.setdefault(name, []).append(trainer.progress.history[-1]["validation"])
    print("| changed | validation accuracy |\n|---|---|")
    for name, accuracies in sorted(found.items(), key=lambda item: -max(item[1])):
        print(f"| {name} | {', '.join(f'{100 * accuracy:.2f} %' for accuracy in accuracies)} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
