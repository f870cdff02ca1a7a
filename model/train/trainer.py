"""Trains GoogLeNet on Fashion-MNIST, or on an ImageFolder tree of your own, on a CPU or a GPU.

    python -m model.train                          the shipped recipe
    python -m model.train --recipe quick           a few minutes on two cores, for trying things
    python -m model.train --data my-pictures/      a folder of pictures a class
    python -m model.train --recipe refine --start-from model/weights/googlenet.safetensors
                                                   trains a finished network further
    python -m model.train --resume                 goes on where the run was stopped or killed

Writes runs/RECIPE-SEED/: the state after every epoch, curves.png, history.json and at the end
googlenet.safetensors, the folded network in half precision, ready to serve.
"""

import argparse
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from model import data
from model.checkpoint import Checkpoint, CheckpointError
from model.data import DataError, Dataset, Split
from model.googlenet import Convolution, GoogLeNet
from model.predict import load_graph
from model.synthetic.sketches.draw import CLASSES, draw_sketches
from model.train import augment
from model.train.finalize import finished
from model.train.recipes import RECIPES, Recipe
from model.train.run_state import Progress, Run

BAR = "{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"


class Trainer:
    """One run: network, moving average, optimiser, and where it stands."""

    def __init__(self, recipe: Recipe, dataset: Dataset, seed: int, device: torch.device, run: Run) -> None:
        self.recipe, self.seed, self.device, self.run = recipe, seed, device, run
        self.dataset = dataset
        self.train = _with_sketches(dataset, recipe.sketches, seed).to(device)
        self.validation = dataset.validation.to(device)
        pixels = dataset.train.pixels.double() / 255
        self.mean, self.std = (pixels.mean().item(), pixels.std().item()) if recipe.normalise else (0.0, 1.0)
        torch.manual_seed(seed)
        torch.backends.cudnn.deterministic = True  # or a resumed run would differ
        self.network = GoogLeNet(len(dataset.classes), batch_norm=recipe.batch_norm)
        self.network.apply(_initialise)
        self.network.to(device).to(memory_format=torch.channels_last)
        self.average = deepcopy(self.network)
        self.optimizer = torch.optim.SGD(
            _parameter_groups(self.network, recipe.weight_decay),
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            nesterov=recipe.momentum > 0,
        )
        self.batch_size = min(recipe.batch_size, len(self.train))
        self.steps = len(self.train) // self.batch_size
        self.generator = Generator(device)
        self.progress = Progress(provenance=_provenance(recipe, seed, dataset))
        self.stop = False

    def start_from(self, checkpoint: Checkpoint) -> None:
        """Begins with a finished checkpoint's weights; its head only if it knows the same classes."""
        network = load_graph(checkpoint).network.to(self.device)
        if self.recipe.batch_norm:
            network = network.unfold_batch_norm(next(iter(self._calibration_batches())))
        state = network.state_dict()
        if checkpoint.metadata.classes != self.dataset.classes:
            state = {name: tensor for name, tensor in state.items() if not name.startswith("head.")}
        self.network.load_state_dict(state, strict=False)
        self.average.load_state_dict(self.network.state_dict())
        self.progress.provenance["start_from"] = checkpoint.version

    def resume(self) -> None:
        """Takes up the stored state. Raises DataError if it belongs to another recipe, seed or data."""
        stored = self.run.progress()
        for key in ("recipe", "seed", "data", "start_from"):
            if stored.provenance.get(key) != json.loads(json.dumps(self.progress.provenance.get(key))):
                raise DataError(f"{self.run.folder} was started with another {key}: use the same, or another --out")
        self.progress = stored
        self.run.restore(self.network, self.average, self.optimizer)

    def fit(self) -> bool:
        """Trains to the end; False if it was asked to stop before. The state is saved either way."""
        total = sum(side**2 * epochs for side, epochs in self.recipe.phases) * self.steps
        with tqdm(total=total, smoothing=0, bar_format=BAR) as bar:
            bar.update(self._work_done())
            bar.initial = bar.n
            while self.progress.epoch < self.recipe.epochs:
                if not self._fit_epoch(bar):
                    self.run.save(self.progress, self.network, self.average, self.optimizer)
                    return False
                self._close_epoch(bar)
        self.run.report(self.progress.history)
        return True

    def _fit_epoch(self, bar: "tqdm[Any]") -> bool:
        p, side = self.progress, self.recipe.resolution(self.progress.epoch)
        bar.set_description(f"epoch {p.epoch + 1}/{self.recipe.epochs} at {side} px")
        self.network.train()
        self.generator.manual_seed(_mix(self.seed, p.epoch))
        order = torch.randperm(len(self.train), generator=self.generator, device=self.device)
        totals = torch.tensor([p.loss, p.correct], device=self.device, dtype=torch.float64)
        started = time.monotonic()
        for step in range(p.step, self.steps):
            index = order[step * self.batch_size : (step + 1) * self.batch_size]
            totals += self._fit_batch(self.train[index], side)
            p.step, p.seen = step + 1, p.seen + len(index)
            if step % 20 == 0 or self.stop:
                loss, correct = (totals / p.seen).tolist()
                bar.set_postfix_str(f"loss {loss:.3f}, accuracy {100 * correct:.2f} %")
            bar.update(side**2)
            if self.stop:
                break
        p.loss, p.correct = totals.tolist()
        p.seconds += time.monotonic() - started
        return p.step == self.steps

    def _fit_batch(self, batch: Split, side: int) -> Tensor:
        """One step; gives the sums of loss and of right answers over the batch, float64 [2]."""
        p, recipe = self.progress, self.recipe
        self.generator.manual_seed(_mix(self.seed, p.epoch, p.step))
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.learning_rate_at(p.epoch + (p.step + 1) / self.steps)
        x = batch.pixels.unsqueeze(1).float() / 255
        x = self._augment(x)
        with _autocast(self.device):
            logits = self.network(self._prepare(x, side))
        loss = functional.cross_entropy(logits.float(), batch.labels, label_smoothing=recipe.label_smoothing)
        torch.autograd.backward(loss)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self._update_average()
        correct = (logits.detach().argmax(1) == batch.labels).sum()
        return torch.stack([loss.detach().double() * len(batch), correct.double()])

    def _augment(self, x: Tensor) -> Tensor:
        recipe, generator = self.recipe, self.generator
        if recipe.flip:
            x = augment.flip(x, generator)
        if recipe.shift:
            x = augment.shift(x, recipe.shift, generator)
        if recipe.remake:
            x = augment.remake(x, recipe.remake, generator)
        if recipe.draw:
            x = augment.draw(x, recipe.draw, generator)
        if recipe.erase:
            x = augment.erase(x, recipe.erase, recipe.erase_area, generator)
        return x

    def _prepare(self, x: Tensor, side: int) -> Tensor:
        """float [n,1,h,w] in 0–1 → normalised [n,1,side,side]."""
        if x.shape[-1] != side:
            x = functional.interpolate(x, size=(side, side), mode="bilinear", antialias=x.shape[-1] > side)
        return ((x - self.mean) / self.std).contiguous(memory_format=torch.channels_last)

    @torch.no_grad()
    def _update_average(self) -> None:
        """Moves the average towards the weights: quickly after a start, a restart or a change of size, then slowly."""
        self.progress.since_change += 1
        t = self.progress.since_change
        decay = min(self.recipe.average_decay, t / (t + 10))
        pairs = zip(self.average.state_dict().values(), self.network.state_dict().values(), strict=True)
        averages, weights = zip(*(pair for pair in pairs if pair[0].is_floating_point()), strict=True)
        torch._foreach_lerp_(averages, weights, 1 - decay)

    def _close_epoch(self, bar: "tqdm[Any]") -> None:
        p, side = self.progress, self.recipe.resolution(self.progress.epoch)
        row = {
            "epoch": p.epoch + 1,
            "resolution": side,
            "loss": p.loss / p.seen,
            "accuracy": p.correct / p.seen,
            "validation": self._validate(side),
            "seconds": round(p.seconds, 1),
            "pictures_per_second": round(p.seen / p.seconds, 1),
        }
        bar.write(
            f"epoch {row['epoch']:3d}  {side} px  loss {row['loss']:.4f}  accuracy {100 * row['accuracy']:.2f} %  "
            f"validation {100 * row['validation']:.2f} %  {row['pictures_per_second']:.0f} pictures/s"
        )
        p.history.append(row)
        p.epoch, p.step, p.loss, p.correct, p.seen, p.seconds = p.epoch + 1, 0, 0.0, 0.0, 0, 0.0
        if self.recipe.begins_anew(p.epoch):
            p.since_change = 0
        self.run.save(p, self.network, self.average, self.optimizer)
        self.run.report(p.history)

    @torch.no_grad()
    def _validate(self, side: int) -> float:
        self.average.eval()
        correct = 0
        for batch in (self.validation[i : i + 500] for i in range(0, len(self.validation), 500)):
            with _autocast(self.device):
                logits = self.average(self._prepare(batch.pixels.unsqueeze(1).float() / 255, side))
            correct += int((logits.argmax(1) == batch.labels).sum())
        return correct / len(self.validation)

    def checkpoint(self) -> Checkpoint:
        """The averaged network, folded, in half precision, calibrated, with its figures and golden pictures."""
        network = self.average
        if self.recipe.batch_norm:
            with _autocast(self.device):
                torch.optim.swa_utils.update_bn(self._calibration_batches(), network, self.device)
            network = network.fold_batch_norm()
        training = {**self.progress.provenance, "history": self.progress.history}
        return finished(network, self.mean, self.std, self.dataset, training)

    def _calibration_batches(self) -> Iterator[Tensor]:
        """Training batches at the final size, for the averaged weights' own batch statistics."""
        self.generator.manual_seed(_mix(self.seed, self.recipe.epochs))
        order = torch.randperm(len(self.train), generator=self.generator, device=self.device)
        side = self.recipe.resolution(self.recipe.epochs - 1)
        for index in torch.split(order[:10_000], 250):
            yield self._prepare(self._augment(self.train[index].pixels.unsqueeze(1).float() / 255), side)

    def _work_done(self) -> int:
        done = sum(self.recipe.resolution(epoch) ** 2 for epoch in range(self.progress.epoch)) * self.steps
        if self.progress.epoch < self.recipe.epochs:
            done += self.recipe.resolution(self.progress.epoch) ** 2 * self.progress.step
        return done


def _with_sketches(dataset: Dataset, count: int, seed: int) -> Split:
    """The training pictures and `count` drawings. Raises DataError for classes that nobody has drawn."""
    if not count:
        return dataset.train
    if dataset.classes != CLASSES:
        raise DataError(f"sketches={count}: there are drawings of {', '.join(CLASSES)} alone")
    pixels, labels = draw_sketches(count, seed)
    return Split(
        torch.cat([dataset.train.pixels, torch.from_numpy(pixels)]),
        torch.cat([dataset.train.labels, torch.from_numpy(labels)]),
    )


def _initialise(module: nn.Module) -> None:
    """Xavier for the plain net, as in the book; He et al. 2015 where normalisation follows."""
    if isinstance(module, Convolution):
        if module.norm is None:
            nn.init.xavier_uniform_(module.conv.weight)
        else:
            nn.init.kaiming_normal_(module.conv.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)


def _parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    weights = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
    return [{"params": weights, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def _autocast(device: torch.device) -> torch.autocast:
    """bf16, but not on a CPU that has to imitate it, which takes ten times as long as single precision."""
    computes_bf16 = device.type != "cpu" or (
        torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=computes_bf16)


def _mix(*numbers: int) -> int:
    """One seed from several numbers, so that every step's random draws can be had without those before it."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def _provenance(recipe: Recipe, seed: int, dataset: Dataset) -> dict[str, Any]:
    return {
        "recipe": asdict(recipe),
        "seed": seed,
        "data": dataset.checksums,
        "git_commit": _git_commit(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }


def _git_commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        result = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True)
    except OSError:  # no git
        return "unknown"
    return result.stdout.strip() or "unknown"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", choices=RECIPES, default="default")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=JSON", help="change one value of the recipe")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, metavar="DIR", help="Fashion-MNIST's files or an ImageFolder tree")
    parser.add_argument("--out", type=Path, metavar="DIR", help="the run's folder (default runs/RECIPE-SEED)")
    parser.add_argument("--start-from", type=Path, metavar="FILE", help="begin with a checkpoint's weights")
    parser.add_argument("--resume", action="store_true", help="go on with the run in that folder")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    return parser.parse_args()


def main() -> int:
    arguments = _arguments()
    run = Run(arguments.out or Path("runs") / f"{arguments.recipe}-{arguments.seed}")
    name = arguments.device if arguments.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    try:
        if run.exists() and not arguments.resume:
            raise DataError(f"{run.folder} holds a run already: go on with it (--resume), or name another --out")
        recipe, dataset = RECIPES[arguments.recipe].changed(arguments.set), data.load(arguments.data)
        trainer = Trainer(recipe, dataset, arguments.seed, torch.device(name), run)
        if arguments.start_from:
            trainer.start_from(Checkpoint.load(arguments.start_from))
        if run.exists():
            trainer.resume()
    except (CheckpointError, DataError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1

    def ask_to_stop(signum: int, frame: FrameType | None) -> None:
        trainer.stop = True
        signal.signal(signum, signal.SIG_DFL)  # a second one ends it at once

    signal.signal(signal.SIGINT, ask_to_stop)
    signal.signal(signal.SIGTERM, ask_to_stop)
    if not trainer.fit():
        print(f"stopped and saved in {run.folder}; go on with --resume", file=sys.stderr)
        return 130
    checkpoint = trainer.checkpoint()
    checkpoint.save(run.checkpoint_file)
    figures = ", ".join(f"{split} {100 * value:.2f} %" for split, value in checkpoint.metadata.accuracy.items())
    print(f"{run.checkpoint_file}: {figures}\nserve it: GOOGLENET_CHECKPOINT={run.checkpoint_file} make serve")
    return 0


if __name__ == "__main__":
    sys.exit(main())
