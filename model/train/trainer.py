"""Trains GoogLeNet or a teacher: optimisation steps, validation after each epoch, and at the end a checkpoint.

    trainer = Trainer(RECIPES["quick"], data.load(), seed=0, device=torch.device("cpu"), folder=RunFolder(path))
    if trainer.fit():
        trainer.checkpoint().save(path / "googlenet.safetensors")

Each step seeds its random numbers with (seed, epoch, step). A resumed run therefore gives the same weights as a run
that was never stopped.
"""

import json
import math
import time
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import asdict, fields
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from model.checkpoint import Checkpoint
from model.data import DataError, Dataset
from model.googlenet import GoogLeNet
from model.predict import load_graph
from model.train.augment import augment, distort, move
from model.train.distillation.teacher import Teacher, soft_targets
from model.train.distillation.wide_resnet import WideResNet
from model.train.finalize import build_checkpoint
from model.train.optimisation import autocast, build_network, build_optimizer, network_input, update_average
from model.train.recipes import Recipe
from model.train.run_state import Progress, RunFolder, provenance
from model.train.training_set import training_set

PROGRESS_BAR = "{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"

BATCH_NORM_PICTURES, BATCH_NORM_BATCH = 10_000, 250
"""Training pictures from which the averaged network's batch statistics are computed, and their largest batch."""


class Trainer:
    """One training run: network, moving average of its weights, optimizer and progress."""

    def __init__(
        self,
        recipe: Recipe,
        dataset: Dataset,
        seed: int,
        device: torch.device,
        folder: RunFolder,
        teachers: Sequence[Teacher] = (),
    ) -> None:
        """Raises DataError for sketches with other classes than Fashion-MNIST's, or without the recipe's teachers."""
        self.recipe, self.dataset, self.seed, self.device, self.folder = recipe, dataset, seed, device, folder
        if bool(teachers) != bool(recipe.soft_target_weight):
            raise DataError(
                f"this recipe has soft_target_weight={recipe.soft_target_weight} and {len(teachers)} teachers"
            )
        self.teachers = teachers
        self.training_split = training_set(dataset, recipe, seed).to(device)
        self.targets = functional.one_hot(self.training_split.labels, len(dataset.classes)).float()
        self.soft_target_weights = torch.zeros(len(self.training_split), 1, device=device)
        self.soft_target_weights[: len(dataset.train)] = recipe.soft_target_weight  # teachers know no sketches
        self.validation_split = dataset.validation.to(device)
        pixels = dataset.train.pixels.double() / 255
        self.mean, self.std = (pixels.mean().item(), pixels.std().item()) if recipe.normalise else (0.0, 1.0)
        torch.manual_seed(seed)
        torch.backends.cudnn.deterministic = True  # without it, a resumed run gives other weights
        self.network = build_network(recipe, len(dataset.classes))
        self.network.to(device).to(memory_format=torch.channels_last)
        self.average = deepcopy(self.network)
        self.optimizer = build_optimizer(self.network, recipe)
        self.batch_size = min(recipe.batch_size, len(self.training_split))
        self.steps_per_epoch = len(self.training_split) // self.batch_size
        self.generator = Generator(device)
        self.progress = Progress(provenance=provenance(recipe, seed, dataset))
        if teachers:
            self.progress.provenance["teachers"] = [teacher.provenance for teacher in teachers]
        self.stop_requested = False

    def start_from(self, checkpoint: Checkpoint) -> None:
        """Loads a checkpoint's weights before training; the head's only if the classes are the same.

        Raises DataError for a teacher.
        """
        if self.recipe.network != "googlenet":
            raise DataError(f"--start-from: a checkpoint holds a GoogLeNet, not a {self.recipe.network}")
        network = load_graph(checkpoint).network.to(self.device)
        if self.recipe.batch_norm:
            network = network.unfold_batch_norm(next(self._batch_norm_inputs()))
        state = network.state_dict()
        if checkpoint.metadata.classes != self.dataset.classes:
            state = {name: tensor for name, tensor in state.items() if not name.startswith("head.")}
        self.network.load_state_dict(state, strict=False)
        self.average.load_state_dict(self.network.state_dict())
        self.progress.provenance["start_from"] = checkpoint.version

    def resume(self) -> None:
        """Restores the stored state. Raises DataError if recipe, seed, data, start or teachers differ."""
        stored = self.folder.progress()
        known = {field.name for field in fields(Recipe)}  # values were added to recipes since, or taken away
        recipe = asdict(Recipe(**{key: value for key, value in stored.provenance["recipe"].items() if key in known}))
        before, now = (_as_json(each) for each in (stored.provenance | {"recipe": recipe}, self.progress.provenance))
        for key in ("recipe", "seed", "data", "start_from", "teachers"):
            if before.get(key) != now.get(key):
                raise DataError(f"{self.folder.path} was started with another {key}: use the same, or another --out")
        self.progress = stored
        self.folder.restore(self.network, self.average, self.optimizer)

    def fit(self) -> bool:
        """Trains to the end and returns True, or False if `stop_requested` ended it; saves the state either way."""
        total = sum(side**2 * epochs for side, epochs in self.recipe.phases) * self.steps_per_epoch
        with tqdm(total=total, smoothing=0, bar_format=PROGRESS_BAR) as bar:  # its unit: one pixel of every picture
            bar.update(self._work_done())
            bar.initial = bar.n
            while self.progress.epoch < self.recipe.epochs:
                if not self._train_epoch(bar):
                    self.folder.save(self.progress, self.network, self.average, self.optimizer)
                    return False
                self._end_epoch(bar)
        self.folder.report(self.progress.history)
        return True

    def _train_epoch(self, bar: "tqdm[Any]") -> bool:
        """Runs the epoch's remaining steps; returns False if it was stopped before the last one."""
        progress, side = self.progress, self.recipe.resolution(self.progress.epoch)
        bar.set_description(f"epoch {progress.epoch + 1}/{self.recipe.epochs} at {side} px")
        self.network.train()
        order = self._random_order(progress.epoch)
        totals = torch.tensor([progress.loss, progress.correct], device=self.device, dtype=torch.float64)
        started = time.monotonic()
        for step in range(progress.step, self.steps_per_epoch):
            index = order[step * self.batch_size : (step + 1) * self.batch_size]
            totals += self._train_step(index, side)
            progress.step, progress.seen = step + 1, progress.seen + len(index)
            if step % 20 == 0 or self.stop_requested:
                loss, accuracy = (totals / progress.seen).tolist()
                bar.set_postfix_str(f"loss {loss:.3f}, accuracy {100 * accuracy:.2f} %")
            bar.update(side**2)
            if self.stop_requested:
                break
        progress.loss, progress.correct = totals.tolist()
        progress.seconds += time.monotonic() - started
        return progress.step == self.steps_per_epoch

    def _train_step(self, index: Tensor, side: int) -> Tensor:
        """One optimisation step on the pictures `index`; returns summed loss and number correct, float64 [2]."""
        progress, recipe = self.progress, self.recipe
        self.generator.manual_seed(_derived_seed(self.seed, progress.epoch, progress.step))
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.learning_rate_at(progress.epoch + (progress.step + 1) / self.steps_per_epoch)
        batch, targets = self.training_split[index], self.targets[index]
        x = move(scaled(batch.pixels), recipe, self.generator)
        if self.teachers:
            targets = torch.lerp(targets, soft_targets(self.teachers, x), self.soft_target_weights[index])
        x = distort(x, recipe, self.generator)
        with autocast(self.device):
            logits = self.network(self._network_input(x, side))
        loss = functional.cross_entropy(logits.float(), targets, label_smoothing=recipe.label_smoothing)
        torch.autograd.backward(loss)
        self.optimizer.step()
        self.optimizer.zero_grad()
        progress.since_change += 1
        update_average(self.average, self.network, recipe.average_decay, progress.since_change)
        correct = (logits.detach().argmax(1) == batch.labels).sum()
        return torch.stack([loss.detach().double() * len(batch), correct.double()])

    def _network_input(self, x: Tensor, side: int) -> Tensor:
        return network_input(x, side, self.mean, self.std)

    def _end_epoch(self, bar: "tqdm[Any]") -> None:
        """Validates, prints and records the epoch's figures, and saves the state."""
        progress, side = self.progress, self.recipe.resolution(self.progress.epoch)
        row = {
            "epoch": progress.epoch + 1,
            "resolution": side,
            "loss": progress.loss / progress.seen,
            "accuracy": progress.correct / progress.seen,
            "validation": self._validation_accuracy(side),
            "seconds": round(progress.seconds, 1),
            "pictures_per_second": round(progress.seen / progress.seconds, 1),
        }
        bar.write(
            f"epoch {row['epoch']:3d}  {side} px  loss {row['loss']:.4f}  accuracy {100 * row['accuracy']:.2f} %  "
            f"validation {100 * row['validation']:.2f} %  {row['pictures_per_second']:.0f} pictures/s"
        )
        progress.begin_next_epoch(row)
        if self.recipe.schedule_changes_at(progress.epoch):
            progress.since_change = 0
        self.folder.save(progress, self.network, self.average, self.optimizer)
        self.folder.report(progress.history)

    @torch.no_grad()
    def _validation_accuracy(self, side: int) -> float:
        self.average.eval()
        correct = 0
        for batch in (self.validation_split[i : i + 500] for i in range(0, len(self.validation_split), 500)):
            with autocast(self.device):
                logits = self.average(self._network_input(scaled(batch.pixels), side))
            correct += int((logits.argmax(1) == batch.labels).sum())
        return correct / len(self.validation_split)

    def checkpoint(self) -> Checkpoint:
        """The averaged network, folded, in half precision, measured and calibrated. Raises TypeError for a teacher."""
        network = self._finished_network()
        if not isinstance(network, GoogLeNet):
            raise TypeError(f"a checkpoint holds a GoogLeNet, not a {self.recipe.network}")
        if self.recipe.batch_norm:
            network = network.fold_batch_norm()
        training = {**self.progress.provenance, "history": self.progress.history}
        return build_checkpoint(network, self.mean, self.std, self.dataset, training)

    def teacher(self) -> Teacher:
        """The averaged network as a teacher. Raises TypeError for a GoogLeNet."""
        network = self._finished_network()
        if not isinstance(network, WideResNet):
            raise TypeError(f"a teacher is a WideResNet, not a {self.recipe.network}")
        side = self.recipe.resolution(self.recipe.epochs - 1)
        provenance = {**self.progress.provenance, "validation": self._validation_accuracy(side)}
        return Teacher(network, self.mean, self.std, side, provenance)

    def _finished_network(self) -> nn.Module:
        """The averaged network with batch statistics of its own weights, in evaluation mode."""
        if self.recipe.batch_norm:
            with autocast(self.device):
                torch.optim.swa_utils.update_bn(self._batch_norm_inputs(), self.average, self.device)
        return self.average.eval()

    def _batch_norm_inputs(self) -> Iterator[Tensor]:
        """Augmented training batches at the last resolution: averaged weights need batch statistics of their own."""
        order = self._random_order(self.recipe.epochs)[:BATCH_NORM_PICTURES]
        side = self.recipe.resolution(self.recipe.epochs - 1)
        for index in torch.tensor_split(order, math.ceil(len(order) / BATCH_NORM_BATCH)):  # all count the same
            x = augment(scaled(self.training_split[index].pixels), self.recipe, self.generator)
            yield self._network_input(x, side)

    def _random_order(self, epoch: int) -> Tensor:
        """Seeds the generator for this epoch and shuffles the training pictures: int64 [n]."""
        self.generator.manual_seed(_derived_seed(self.seed, epoch))
        return torch.randperm(len(self.training_split), generator=self.generator, device=self.device)

    def _work_done(self) -> int:
        """Steps done, each weighted by the pixels of a picture."""
        done = sum(self.recipe.resolution(epoch) ** 2 for epoch in range(self.progress.epoch)) * self.steps_per_epoch
        if self.progress.step:
            done += self.recipe.resolution(self.progress.epoch) ** 2 * self.progress.step
        return done


def _as_json(values: dict[str, Any]) -> dict[str, Any]:
    """As they are after being stored: tuples are lists."""
    stored: dict[str, Any] = json.loads(json.dumps(values))
    return stored


def scaled(pixels: Tensor) -> Tensor:
    """uint8 [n,h,w] → float [n,1,h,w] in 0–1."""
    return pixels.unsqueeze(1).float() / 255


def _derived_seed(*numbers: int) -> int:
    """One seed from several numbers, so that no step's random numbers depend on the steps before it."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
