"""The pixel limit: weighs a picture's pixels by what its decoder needs, and gives the number allowed for its format.

Some decoders hold or process more than the pixels of the picture. Their pixels count as more.
"""

from PIL import BmpImagePlugin, Image, JpegImagePlugin, TiffImagePlugin

from app.errors import TooManyPixels
from app.images.formats.jpeg import has_several_scans

REDUCED_JPEG_LIMIT = 8
"""A JPEG that is decoded at a reduced scale may have this many times the limit on pixels."""

PROGRESSIVE_JPEG_LIMIT = 5
"""A progressive JPEG at a reduced scale may have this many samples for each pixel of the limit.

Its decoder holds all coefficients at full size, two bytes each. A limit of 16 million pixels allows 26 million in three
full bands, 53 million with color at half the resolution (the usual case), and 20 million in four bands.
"""

WEBP_WEIGHT = 4 / 3
"""What a pixel of a WebP counts as: its decoder holds three more copies of the picture, and the whole file."""

MAX_CODE_TABLES, CODE_TABLES_BYTES, LARGEST_PICTURE_BYTES = 65_536, 13_600, 300_000_000
"""Limits of libwebp's lossless decoder, and the memory that decoding the largest picture takes."""

RUN_LENGTH_WEIGHT = 4
"""What a pixel of a run-length encoded BMP counts as: Pillow decodes it in Python."""

IMAGE_WIDTH, IMAGE_LENGTH, TILE_WIDTH, TILE_LENGTH = 256, 257, 322, 323
"""Tags of a TIFF."""


def count_pixels(image: Image.Image, data: bytes, size: tuple[int, int], max_pixels: int) -> tuple[int, int]:
    """The pixels that the picture counts as, and how many its format allows; `size` is width and height as stored."""
    pixels = size[0] * size[1]
    if isinstance(image, JpegImagePlugin.JpegImageFile) and image.size != size:
        if has_several_scans(data):
            return _count_samples(image, pixels), PROGRESSIVE_JPEG_LIMIT * max_pixels
        return pixels, REDUCED_JPEG_LIMIT * max_pixels
    if isinstance(image, TiffImagePlugin.TiffImageFile):  # a tile is decoded whole, even if most of it is outside
        width, length = image.tag_v2.get(TILE_WIDTH, 1), image.tag_v2.get(TILE_LENGTH, 1)
        across, down = -(-image.tag_v2[IMAGE_WIDTH] // width), -(-image.tag_v2[IMAGE_LENGTH] // length)
        return across * width * down * length, max_pixels
    if isinstance(image, BmpImagePlugin.BmpImageFile) and image.tile[0].codec_name == "bmp_rle":
        return RUN_LENGTH_WEIGHT * pixels, max_pixels
    return round(WEBP_WEIGHT * pixels) if image.format == "WEBP" else pixels, max_pixels


def code_tables_share(image: Image.Image, data: bytes) -> float:
    """Memory of the code tables of a lossless WebP, as a fraction of what the largest picture needs.

    Each group of pixels, of at least 4×4, may have tables of its own: 13.6 kB, described by 20 bits of the file.
    """
    if image.format != "WEBP" or (b"VP8L" not in data[:64] and b"ALPH" not in data[:64]):
        return 0.0
    groups = min(MAX_CODE_TABLES, image.width * image.height // 16, len(data) * 8 // 20)
    return groups * CODE_TABLES_BYTES / LARGEST_PICTURE_BYTES


def _count_samples(image: JpegImagePlugin.JpegImageFile, pixels: int) -> int:
    """Samples in all bands, some of which may have a lower resolution than the picture."""
    areas = [vertical * horizontal for _, vertical, horizontal, _ in image.layer]
    full = max(layer[1] for layer in image.layer) * max(layer[2] for layer in image.layer)
    return -(-pixels * sum(areas) // full)


def too_many_pixels(size: tuple[int, int], counted: int, allowed: int, max_pixels: int) -> TooManyPixels:
    """The error with the pixels counted, the pixels allowed and the setting that limits them."""
    pixels, multiple = size[0] * size[1], f"{allowed // max_pixels} times " if allowed > max_pixels else ""
    counted_as = f", which count as {counted:,} here" if counted != pixels else ""
    return TooManyPixels(
        f"the picture has {size[0]}×{size[1]} = {pixels:,} pixels{counted_as}; the limit for its format is "
        f"{allowed:,}, {multiple}GOOGLENET_MAX_PIXELS. Send it smaller, or as JPEG, which is decoded at a reduced "
        f"scale: {REDUCED_JPEG_LIMIT * max_pixels:,} pixels are allowed, "
        f"{PROGRESSIVE_JPEG_LIMIT * max_pixels:,} samples if progressive"
    )
