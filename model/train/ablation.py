"""What each ingredient of the recipe is worth: short runs, each with one thing changed.

    python -m model.train.ablation --out runs/ablation

Prints a Markdown table of validation accuracy, best first; a run that was stopped goes on. The recipe as it is runs
with several seeds, to see what chance does. Some epochs at 32 px say what pays in a short run: what regularises pays
later, or not at all here.
"""

import argparse
import re
import sys
from pathlib import Path

import torch

from model import data
from model.train.recipes import RECIPES
from model.train.run_state import Run
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
    parser.add_argument("--seeds", type=int, default=2, metavar="N", help="of the recipe as it is")
    parser.add_argument("--only", default="", metavar="TEXT", help="the changes whose name has this in it")
    parser.add_argument("--data", type=Path, metavar="DIR", help="Fashion-MNIST's files or an ImageFolder tree")
    arguments = parser.parse_args()
    base = RECIPES["default"].changed([f"phases=[[32,{arguments.epochs}]]", "restarts=[]", "warmup_epochs=0.5"])
    dataset = data.load(arguments.data)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    found: dict[str, list[float]] = {}
    for name, change in CHANGES.items():
        if arguments.only not in name:
            continue
        for seed in range(arguments.seeds if name == UNCHANGED else 1):
            run = Run(arguments.out / re.sub(r"\W+", "-", f"{name} {seed}"))
            trainer = Trainer(base.changed([change] if change else []), dataset, seed, device, run)
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
