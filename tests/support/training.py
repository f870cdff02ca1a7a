"""A small folder of pictures to train on."""

from pathlib import Path

from conftest import PICTURES
from PIL import Image


def two_classes(root: Path) -> Path:
    """Boots and trousers: a hundred and twenty pictures, the committed ones in three brightnesses, mirrored or not."""
    for name in ("ankle-boot", "trouser"):
        (root / name).mkdir()
        for path in PICTURES.glob(f"{name}-*.png"):
            with Image.open(path) as file:
                picture = file.convert("L")
            for gain in (0.6, 0.8, 1.0):
                for mirrored in (False, True):
                    turned = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else picture
                    turned.point(lambda v, gain=gain: v * gain).save(root / name / f"{path.stem}-{gain}-{mirrored}.png")
    return root
