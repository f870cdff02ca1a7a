"""python -m tests.clipart FOLDER: how many garments of two collections of clip art come out right.

FOLDER holds two of Debian's packages, unpacked; they have licences of their own and are not in the repository:

    cd FOLDER && apt-get download openclipart-svg tuxpaint-stamps-default
    for file in *.deb; do dpkg-deb -x "$file" .; done

Each as it is, on transparency, and on white. Labels were given by eye before any answer was seen; what has none in the
data set, hats and socks, several garments in a picture, and pumps, which the data set has in two classes, are left out.
"""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from app.inference.engines.choose import build_engine
from app.inference.scores import score
from app.settings import Settings
from model.checkpoint import Checkpoint
from model.preprocess import preprocess

STAMPS, CLIPART = "usr/share/tuxpaint/stamps/clothes", "usr/share/openclipart/svg"

GARMENTS = {
    f"{CLIPART}/containers/paperbag2_juliane_krug.svg": "Bag",
    f"{CLIPART}/people/clothing/camicia_in_seta_architet_01.svg": "Shirt",
    f"{CLIPART}/people/clothing/hiking_boot_jarno_vasama_.svg": "Ankle boot",
    f"{CLIPART}/people/clothing/straw_tote_linda_kim_01.svg": "Bag",
    f"{CLIPART}/people/clothing/t-shirt_01.svg": "T-shirt/top",
    f"{CLIPART}/people/clothing/t-shirt_02.svg": "T-shirt/top",
    f"{CLIPART}/people/clothing/t-shirt_03.svg": "T-shirt/top",
    f"{CLIPART}/people/clothing/tennis_shoe_jarno_vasama_.svg": "Sneaker",
    f"{STAMPS}/bellbottoms.svg": "Trouser",
    f"{STAMPS}/black_dress.svg": "Dress",
    f"{STAMPS}/bluejeans1.svg": "Trouser",
    f"{STAMPS}/bluejeans2.svg": "Trouser",
    f"{STAMPS}/hikingboot.svg": "Ankle boot",
    f"{STAMPS}/jacket.svg": "Coat",
    f"{STAMPS}/red_handbag.svg": "Bag",
    f"{STAMPS}/t_jacket.png": "Coat",
    f"{STAMPS}/t_pants.png": "Trouser",
    f"{STAMPS}/t_poloshirt.png": "T-shirt/top",
    f"{STAMPS}/t_shirt.png": "Shirt",
    f"{STAMPS}/t_tshirt.png": "T-shirt/top",
    f"{STAMPS}/white_pants.svg": "Trouser",
}


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    settings = Settings()
    checkpoint = Checkpoint.load(settings.checkpoint)
    engine = build_engine(settings, checkpoint)
    right = {"on transparency": 0, "on white": 0}
    for name, label in GARMENTS.items():
        cut_out = draw(Path(sys.argv[1]) / name)
        white = Image.new("RGBA", cut_out.size, "white")
        white.alpha_composite(cut_out)
        for where, image in zip(right, (cut_out, white.convert("RGB")), strict=True):
            (found,) = score(engine, checkpoint, preprocess(image).pixels[np.newaxis])
            right[where] += checkpoint.metadata.classes[int(found.probabilities.argmax())] == label
    for where, number in right.items():
        print(f"{where:16} {number} of {len(GARMENTS)}")
    return 0


def draw(file: Path) -> Image.Image:
    """600 pixels wide, if it is a drawing of lines and not of pixels."""
    data = file.read_bytes()
    if file.suffix == ".svg":
        data = subprocess.run(["rsvg-convert", "-w", "600", "-a"], input=data, capture_output=True, check=True).stdout
    return Image.open(io.BytesIO(data)).convert("RGBA")


if __name__ == "__main__":
    sys.exit(main())
