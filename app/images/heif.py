"""Opens AVIF and HEIC pictures. Their decoders are loaded with the first such picture."""

from importlib.util import find_spec
from io import BytesIO

from PIL import Image

from app.errors import UnsupportedFormat
from app.images.formats.isobmff import read_still

SIGNATURE = rb"....ftyp(?:avi[fs]|mif[123]|msf1|miaf|MA1[AB]|hei[cxms]|hev[cxms])"
"""Regular expression for the file type box with the brands of AVIF and HEIC. Videos begin with other brands."""

PIXEL_WEIGHT = 5 / 4
"""What a pixel counts as, because of the decoder's memory. Phone pictures of 12 megapixels stay within the limit."""

MAX_THUMBNAIL_PIXELS, THUMBNAIL_SIDE = 1_000_000, 192
"""Pixels of all thumbnails together, and the shortest side of the thumbnail that is used, at least."""


def open_heif(data: bytes, allowed: int) -> tuple[Image.Image, tuple[int, int], int]:
    """The primary picture, not yet decoded, its width and height, and the pixels that it counts as.

    If a HEIC counts as more pixels than allowed, as a phone's picture of 24 megapixels does, a thumbnail in the file is
    opened instead. Raises UndecodablePicture, and UnsupportedFormat if HEIC's decoder is not installed.
    """
    still = read_still(data)
    name = _load_avif() if still.codec == b"av01" else _load_heic()
    image = Image.open(BytesIO(still.data), formats=(name,))
    size = image.size
    counted = round(max(PIXEL_WEIGHT * image.width * image.height, PIXEL_WEIGHT * still.pixels, still.decode_cost))
    usable = 0 < still.thumbnail_pixels <= MAX_THUMBNAIL_PIXELS
    if counted > allowed and usable and image.draft(None, (THUMBNAIL_SIDE, THUMBNAIL_SIDE)):
        counted = still.thumbnail_pixels
    return image, size, counted


def _load_avif() -> str:
    """Pillow's name for the format. The decoder gets one thread, because pictures are decoded in parallel."""
    from PIL import AvifImagePlugin

    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    return "AVIF"


def _load_heic() -> str:
    if "HEIF" not in Image.OPEN:
        if find_spec("pillow_heif") is None:
            raise UnsupportedFormat(
                "the data is a HEIC, which this server does not read: install fashion-googlenet[heif] there, "
                "or convert it to JPEG"
            )
        from pillow_heif import register_heif_opener

        register_heif_opener(depth_images=False, aux_images=False, decode_threads=1)
    return "HEIF"
