"""Training recipes: every setting that changes the result, apart from the seed and the data."""

import json
import math
from collections.abc import Sequence
from dataclasses import fields, replace
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError, model_validator
from pydantic.dataclasses import dataclass

Fraction = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, config=ConfigDict(allow_inf_nan=False, extra="forbid"))
class Recipe:
    """The settings of one training. Raises pydantic.ValidationError for a value out of range."""

    phases: Annotated[tuple[tuple[Annotated[int, Field(ge=28)], PositiveInt], ...], Field(min_length=1)]
    """(resolution in pixels, epochs), in order. The network pools globally, so the resolution may grow."""
    network: Literal["googlenet", "wide_resnet"] = "googlenet"
    """`wide_resnet` makes a teacher for distillation; it cannot be served."""
    soft_target_weight: Fraction = 0.0
    """Weight of the teachers' probabilities in a picture's target; the rest is the data set's label."""
    batch_norm: bool = True
    normalise: bool = True
    """Subtract the training pixels' mean and divide by their standard deviation."""
    batch_size: Annotated[int, Field(ge=2)] = 128
    learning_rate: PositiveFloat = 0.1
    """The peak rate, after the warm-up. A cosine brings it to zero at the end or at the next restart."""
    restarts: tuple[tuple[PositiveInt, PositiveFloat], ...] = ()
    """(epoch, learning rate), ascending: the schedule restarts there from that rate (Loshchilov and Hutter 2017)."""
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup_epochs: Annotated[float, Field(ge=0)] = 1.0
    momentum: Fraction = 0.9
    weight_decay: Fraction = 5e-4
    """Applies to the weights of the convolutions and the head only."""
    label_smoothing: Fraction = 0.05
    average_decay: Fraction = 0.998
    """Decay per step of the weights' exponential moving average; 0 keeps the last weights."""
    flip: bool = True
    shift: Fraction = 2 / 28
    """Largest shift, as a fraction of the side."""
    remake: Fraction = 0.0
    """Fraction of pictures with simulated camera differences: scale, sharpness, contrast, gamma, noise."""
    draw: Fraction = 0.0
    """Fraction of pictures turned into flat or outlined drawings."""
    sketches: Annotated[int, Field(ge=0)] = 0
    """Number of synthetic drawings of garments added to the training pictures."""
    erase: Fraction = 0.5
    """Probability of random erasing."""
    erase_area: Fraction = 0.2
    """Largest fraction of the picture that is erased."""

    @model_validator(mode="after")
    def _restarts_are_in_the_run(self) -> Self:
        at = [0, *(epoch for epoch, _ in self.restarts), self.epochs]
        if any(first >= second for first, second in pairwise(at)):
            raise ValueError(f"restarts must ascend and be below the {self.epochs} epochs; restarts=[] removes them")
        return self

    @property
    def epochs(self) -> int:
        return sum(epochs for _, epochs in self.phases)

    def resolution(self, epoch: int) -> int:
        """Side in pixels of the training pictures in epoch `epoch`, counted from 0."""
        return [side for side, epochs in self.phases for _ in range(epochs)][epoch]

    def learning_rate_at(self, epoch: float) -> float:
        """The learning rate after `epoch` epochs, which may be a fraction."""
        starts = [(0, self.learning_rate), *self.restarts, (self.epochs, 0.0)]
        begin, peak, end = next((a, rate, b) for (a, rate), (b, _) in pairwise(starts) if epoch <= b)
        warmup = min(1.0, epoch / self.warmup_epochs) if self.warmup_epochs else 1.0
        cosine = 0.5 * (1 + math.cos(math.pi * (epoch - begin) / (end - begin)))
        return peak * warmup * (cosine if self.schedule == "cosine" else 1.0)

    def schedule_changes_at(self, epoch: int) -> bool:
        """Whether the learning rate restarts or the resolution changes at the start of `epoch`, counted from 0."""
        return epoch in {at for at, _ in self.restarts} or (
            0 < epoch < self.epochs and self.resolution(epoch) != self.resolution(epoch - 1)
        )

    def with_changes(self, changes: Sequence[str]) -> "Recipe":
        """A copy with some values replaced, each given as KEY=JSON. Raises ValueError for a wrong key or value."""
        values: dict[str, Any] = {}
        for change in changes:
            key, _, value = change.partition("=")
            if key not in {field.name for field in fields(self)}:
                raise ValueError(f"--set {change}: a recipe has no {key}")
            try:
                values[key] = json.loads(value)
            except ValueError:
                raise ValueError(f"--set {change}: the value is not JSON") from None
        try:
            return replace(self, **values)
        except ValidationError as error:
            problem = error.errors()[0]
            wrong = [change for change in changes if change.partition("=")[0] in problem["loc"]] or changes
            raise ValueError(f"--set {' --set '.join(wrong)}: {problem['msg'].removeprefix('Value error, ')}") from None


RECIPES = {
    "default": Recipe(phases=((48, 18), (64, 5), (96, 11)), restarts=((28, 0.03),)),
    # Trains a finished network further: --recipe refine --start-from FILE.
    "refine": Recipe(phases=((96, 8),), learning_rate=0.05, warmup_epochs=0.2, remake=0.25, draw=0.05),
    # Distillation (model/train/distillation/teacher.py): two teachers, then a student.
    "teacher": Recipe(network="wide_resnet", phases=((28, 36),), label_smoothing=0.0),
    "distil": Recipe(
        phases=((96, 18),),
        learning_rate=0.04,
        warmup_epochs=0.2,
        label_smoothing=0.0,
        soft_target_weight=0.7,
        remake=0.2,
        draw=0.08,
        sketches=6000,
        erase=0.4,
    ),
    "quick": Recipe(phases=((48, 1), (96, 1)), warmup_epochs=0.3, average_decay=0.98, erase=0.0),
    # The book's own training (Dive into Deep Learning, section 8.4): plain SGD, Xavier, no augmentation.
    "d2l": Recipe(
        phases=((96, 10),),
        batch_norm=False,
        normalise=False,
        learning_rate=0.01,
        schedule="constant",
        warmup_epochs=0.0,
        momentum=0.0,
        weight_decay=0.0,
        label_smoothing=0.0,
        average_decay=0.0,
        flip=False,
        shift=0.0,
        erase=0.0,
    ),
}
