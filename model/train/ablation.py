"""Ablation study: how the accuracy changes when one thing is taken from the default recipe or added to it.

    python -m model.train.ablation --out runs/ablation

Prints a Markdown table of validation accuracy, best first. A stopped run resumes. The unchanged recipe runs with
several seeds, which shows how much the accuracy varies by chance. The runs take a few epochs at 32 px: regularisation
helps less in them than in a full training.
"""

import argparse
import re
import sys
from pathlib import Path

import torch

from model import data
from model.train.recipes import RECIPES
from model.train.run_state import RunFolder
from model.train.trainer import Trainer

UNCHANGED = "as it is"

CHANGES = {
    UNCHANGED: "",
    "no normalisation of batches (the book's network)": "batch_norm=false",
    "pixels 0–1, not standardised": "normalise=false",
    "not mirrored": "flip=false",
    "not shifted": "shift=0",
    "nothing erased": "erase=0",
    "a quarter re-made": "remake=0.25",
    "a tenth drawn": "draw=0.1",
    "labels not smoothed": "label_smoothing=0",
    "no weight decay": "weight_decay=0",
    "no moving average": "average_decay=0",
    "no momentum": "momentum=0",
    "constant learning rate": 'schedule="constant"',
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"), metavar="DIR")
    parser.add_argument("--epochs", type=int, default=4, metavar="N")
    parser.add_argument("--seeds", type=int, default=2, metavar="N", help="number of seeds for the unchanged recipe")
    parser.add_argument("--only", default="", metavar="TEXT", help="run only the changes with TEXT in their name")
    parser.add_argument("--data", type=Path, metavar="DIR", help="Fashion-MNIST's files or an ImageFolder tree")
    arguments = parser.parse_args()
    base = RECIPES["default"].with_changes([f"phases=[[32,{arguments.epochs}]]", "restarts=[]", "warmup_epochs=0.5"])
    dataset = data.load(arguments.data)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    accuracies: dict[str, list[float]] = {}
    for name, change in CHANGES.items():
        if arguments.only not in name:
            continue
        for seed in range(arguments.seeds if name == UNCHANGED else 1):
            folder = RunFolder(arguments.out / re.sub(r"\W+", "-", f"{name} {seed}"))
            trainer = Trainer(base.with_changes([change] if change else []), dataset, seed, device, folder)
            if folder.has_state():
                trainer.resume()
            trainer.fit()
            accuracies.setdefault(name, []).append(trainer.progress.history[-1]["validation"])
    print("| changed | validation accuracy |\n|---|---|")
    for name, values in sorted(accuracies.items(), key=lambda item: -max(item[1])):
        print(f"| {name} | {', '.join(f'{100 * value:.2f} %' for value in values)} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
