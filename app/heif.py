"""AVIF and HEIC: their readers are loaded when the first comes."""

from importlib.util import find_spec
from io import BytesIO

from PIL import Image

from app.errors import UnsupportedFormat
from app.structure.heif import read

SCALE = 5 / 4
"""What a pixel counts for memory: twelve megapixels, as phones have, are allowed."""


def is_heif(data: bytes) -> bool:
    """Whether a file may be one of these; others begin the same way, videos among them."""
    return data[4:8] == b"ftyp" and data[8:12] in BRANDS


BRANDS = frozenset((b"avif", b"avis", b"mif1", b"msf1", b"miaf", b"MA1A", b"MA1B", b"mif2", b"mif3")) | frozenset(
    (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs")
)


def open_heif(data: bytes) -> tuple[Image.Image, int]:
    """The picture that is shown, not yet decoded, and the pixels that it counts as.

    Raises UndecodablePicture, and UnsupportedFormat where HEIC's reader is not installed.
    """
    still = read(data)
    reader = _avif() if still.codec == b"av01" else _heic()
    image = Image.open(BytesIO(still.data), formats=(reader,))
    return image, round(max(SCALE * image.width * image.height, SCALE * still.pixels, still.effort))


def _avif() -> str:
    """One thread of its decoder: there are as many requests as there are cores."""
    from PIL import AvifImagePlugin

    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    return "AVIF"


def _heic() -> str:
    if "HEIF" not in Image.OPEN:
        if find_spec("pillow_heif") is None:
            raise UnsupportedFormat(
                "the data is a HEIC, which this server does not read: install fashion-googlenet[heif] there, "
                "or convert it to JPEG"
            )
        from pillow_heif import register_heif_opener

        register_heif_opener(thumbnails=False, depth_images=False, aux_images=False, decode_threads=1)
    return "HEIF"
