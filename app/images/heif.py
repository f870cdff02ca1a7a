"""AVIF and HEIC: their readers are loaded when the first comes."""

from importlib.util import find_spec
from io import BytesIO

from PIL import Image

from app.errors import UnsupportedFormat
from app.images.formats.isobmff import read

SCALE = 5 / 4
"""What a pixel counts for memory: twelve megapixels, as phones have, are allowed."""

THUMBNAILS, COPY_SIDE = 1_000_000, 192
"""Pixels of all small copies of a picture, and what the shorter side of the one that is used has at least."""


def is_heif(data: bytes) -> bool:
    """Whether a file may be one of these; others begin the same way, videos among them."""
    return data[4:8] == b"ftyp" and data[8:12] in BRANDS


BRANDS = frozenset((b"avif", b"avis", b"mif1", b"msf1", b"miaf", b"MA1A", b"MA1B", b"mif2", b"mif3")) | frozenset(
    (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs")
)


def open_heif(data: bytes, allowed: int) -> tuple[Image.Image, tuple[int, int], int]:
    """The picture that is shown, not yet decoded, its size, and the pixels that it counts as.

    Of a HEIC that counts as more than allowed, as a phone's of 24 megapixels does, it is the small copy in the file.

    Raises UndecodablePicture, and UnsupportedFormat where HEIC's reader is not installed.
    """
    still = read(data)
    reader = _avif() if still.codec == b"av01" else _heic()
    image = Image.open(BytesIO(still.data), formats=(reader,))
    size, counted = image.size, round(max(SCALE * image.width * image.height, SCALE * still.pixels, still.effort))
    if counted > allowed and 0 < still.thumbnails <= THUMBNAILS and image.draft(None, (COPY_SIDE, COPY_SIDE)):
        counted = still.thumbnails
    return image, size, counted


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

        register_heif_opener(depth_images=False, aux_images=False, decode_threads=1)
    return "HEIF"
