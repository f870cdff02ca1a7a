"""How to train: everything that changes the result, but for the seed and the data."""

import json
import math
from collections.abc import Sequence
from dataclasses import fields, replace
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError
from pydantic.dataclasses import dataclass

Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, config=ConfigDict(allow_inf_nan=False, extra="forbid"))
class Recipe:
    """One way to train. Raises pydantic.ValidationError for a value that makes no sense."""

    phases: Annotated[tuple[tuple[Annotated[int, Field(ge=32)], PositiveInt], ...], Field(min_length=1)]
    """(resolution in pixels, epochs), one after the other: global pooling lets the size grow."""
    batch_norm: bool = True
    normalise: bool = True
    """Subtract the training pixels' mean and divide by their standard deviation."""
    batch_size: Annotated[int, Field(ge=2)] = 128
    learning_rate: PositiveFloat = 0.1
    """At its peak, behind the warm-up; a cosine brings it to zero at the end or at the next restart."""
    restarts: tuple[tuple[PositiveInt, PositiveFloat], ...] = ()
    """(epoch, learning rate): where it starts anew, and from what (Loshchilov and Hutter 2017)."""
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup_epochs: Annotated[float, Field(ge=0)] = 1.0
    momentum: Share = 0.9
    weight_decay: Share = 5e-4
    """On the weights of convolutions and the head alone."""
    label_smoothing: Share = 0.05
    average_decay: Share = 0.998
    """Of the exponential moving average of the weights, per step; 0 takes the last weights."""
    flip: bool = True
    shift: Share = 2 / 28
    """Largest shift, as a fraction of the side."""
    remake: Share = 0.0
    """Share of pictures re-made as another camera would have given them: scale, sharpness, contrast, noise."""
    draw: Share = 0.0
    """Share of pictures turned into flat or outlined drawings."""
    sketches: Annotated[int, Field(ge=0)] = 0
    """Drawings of garments, made by rule, beside the data set's pictures."""
    erase: Share = 0.5
    """Probability of random erasing …"""
    erase_area: Share = 0.2
    """… and the largest share of the picture it takes."""

    @property
    def epochs(self) -> int:
        return sum(epochs for _, epochs in self.phases)

    def resolution(self, epoch: int) -> int:
        """Side of the training pictures in epoch `epoch`, counted from 0."""
        return [side for side, epochs in self.phases for _ in range(epochs)][epoch]

    def learning_rate_at(self, epoch: float) -> float:
        """The rate when `epoch` epochs, a fraction of one included, are done."""
        starts = [(0, self.learning_rate), *self.restarts, (self.epochs, 0.0)]
        begin, peak, end = next((a, rate, b) for (a, rate), (b, _) in pairwise(starts) if epoch <= b)
        warmup = min(1.0, epoch / self.warmup_epochs) if self.warmup_epochs else 1.0
        cosine = 0.5 * (1 + math.cos(math.pi * (epoch - begin) / (end - begin)))
        return peak * warmup * (cosine if self.schedule == "cosine" else 1.0)

    def begins_anew(self, epoch: int) -> bool:
        """Whether epoch `epoch`, counted from 0, has another resolution or learning rate than led up to it."""
        return epoch in {at for at, _ in self.restarts} or (
            0 < epoch < self.epochs and self.resolution(epoch) != self.resolution(epoch - 1)
        )

    def changed(self, changes: Sequence[str]) -> "Recipe":
        """This recipe with some values replaced, each given as KEY=JSON. Raises ValueError for what it has not."""
        values: dict[str, Any] = {}
        for change in changes:
            key, _, value = change.partition("=")
            if key not in {field.name for field in fields(self)}:
                raise ValueError(f"--set {change}: a recipe has no {key}")
            try:
                values[key] = json.loads(value)
                replace(self, **{key: values[key]})
            except ValidationError as error:
                raise ValueError(f"--set {change}: {error.errors()[0]['msg']}") from None
            except ValueError:
                raise ValueError(f"--set {change}: the value is no JSON") from None
        return replace(self, **values)


RECIPES = {
    "default": Recipe(phases=((48, 18), (64, 5), (96, 11)), restarts=((28, 0.03),)),
    # For a network that can do it already: --recipe refine --start-from FILE.
    "refine": Recipe(phases=((96, 8),), learning_rate=0.05, warmup_epochs=0.2, remake=0.25, draw=0.05),
    "quick": Recipe(phases=((48, 1), (96, 1)), warmup_epochs=0.3, average_decay=0.98, erase=0.0),
    # The book's own run: section 8.4, lr 0.01, batch 128, 10 epochs, Xavier, nothing else.
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
