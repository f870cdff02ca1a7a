"""Segmentation: separates the garment from the background, on a small copy of the picture."""

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from model.preprocess.background import Background, Floats, estimate_background, float_channels
from model.preprocess.silhouette import Box, Mask, bounding_box, garment_pixels, remove_frame

SIZE = 96
"""Height and width of the network's input, in pixels."""

COARSE_SIDE = 128
"""The small copy has about as many pixels as a square of this side."""

BLACK_LEVEL = 24
"""The highest gray level of a black border, such as the data set's pictures have."""

MAX_SQUARE_ASPECT, MAX_STRETCHED_ASPECT = 1.1, 1.4
"""Longer by shorter side of a picture that counts as square, and of a data-set picture that somebody resized."""

MAX_TIGHT_MARGIN, MAX_FAINT_LINES = 0.05, 3
"""The largest margin in a picture that is cropped tight: a share of its side, or pixels of the small copy.

Such a picture is not trimmed again. In a small picture, it may be lines too faint to differ from the background.
"""


@dataclass(frozen=True)
class View:
    """A part of a picture at a reduced scale."""

    values: Floats
    """[h,w,c]."""
    opaque: Mask | None
    """[h,w], where alpha is at least half; None if transparency does not show the garment."""
    box: tuple[float, float, float, float]
    """Left, top, right, bottom in the picture, 0–1."""


@dataclass(frozen=True)
class Scene:
    """A picture divided into background and garment, on a small copy."""

    image: Image.Image
    """L or RGB, upright, composited on white."""
    alpha: Image.Image | None
    """L; None if transparency does not show the garment."""
    view: View
    background: Background
    mask: Mask | None
    """The garment's pixels, [h,w] over the view; None if nothing differs from the background."""

    @property
    def looks_native(self) -> bool:
        """Whether this is like a picture of the data set: a light garment on black, cropped tight.

        Square pictures larger than the network's input are excepted: averaging would blur them, so `photo`
        subsamples them.
        """
        black = self.background.level <= BLACK_LEVEL and self.background.border_share >= 0.5
        enlarged = min(self.image.size) > SIZE and is_cropped_tight(self.mask)
        return black and not enlarged and is_cropped_tight(self.mask, MAX_STRETCHED_ASPECT)


def segment(image: Image.Image, alpha: Image.Image | None) -> Scene:
    """Finds the garment in an upright L or RGB picture on white; `alpha`, L, is its alpha channel if it has one."""
    factor = max(1, round((image.width * image.height) ** 0.5 / COARSE_SIDE))
    view = make_view(image, alpha, (0, 0, *image.size), factor)
    if view.opaque is not None and not _has_transparent_border(view.opaque):
        alpha, view = None, replace(view, opaque=None)
    background = estimate_background(view.values)
    return Scene(image, alpha, view, background, garment_pixels(remove_frame(foreground(view, background))))


def _has_transparent_border(opaque: Mask) -> bool:
    """Whether most of the border is transparent."""
    border = opaque[0].sum() + opaque[-1].sum() + opaque[:, 0].sum() + opaque[:, -1].sum()
    return bool(border < sum(opaque.shape))


def make_view(image: Image.Image, alpha: Image.Image | None, box: Box, factor: int) -> View:
    """The picture's part in `box`, reduced by a whole factor."""
    opaque = None if alpha is None else np.asarray(alpha.reduce(factor, box)) >= 128
    width, height = image.size
    share = (box[0] / width, box[1] / height, box[2] / width, box[3] / height)
    return View(float_channels(np.asarray(image.reduce(factor, box))), opaque, share)


def foreground(view: View, background: Background) -> Mask:
    """The pixels that differ from the background or are opaque."""
    difference = background.difference(view.values, view.box)
    mask = difference >= background.threshold(difference)
    return mask if view.opaque is None else mask | view.opaque


def is_cropped_tight(mask: Mask | None, max_aspect: float = MAX_SQUARE_ASPECT) -> bool:
    """Whether the garment fills the picture and is in its middle, as in the data set, and the aspect allows it."""
    if mask is None or max(mask.shape) > max_aspect * min(mask.shape):
        return False
    (height, width), box = mask.shape, bounding_box(mask)
    free = (box[0] + width - box[2]) / width, (box[1] + height - box[3]) / height
    off = abs(box[0] - (width - box[2])) / width, abs(box[1] - (height - box[3])) / height
    slack = max(MAX_TIGHT_MARGIN, MAX_FAINT_LINES / max(mask.shape))
    return bool(min(free) <= slack and max(off) <= slack)
