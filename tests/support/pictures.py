"""PNG files made by hand, and pictures encoded by Pillow and its plugins."""

import io
import zlib

from PIL import Image


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def huge_png(width: int, height: int) -> bytes:
    """A valid gray PNG of that size in few bytes."""
    rows = zlib.compress(bytes((width + 1) * height), 9)
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 0, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", rows) + png_chunk(b"IEND", b"")


def in_format(image: Image.Image, file_format: str, **options: object) -> bytes:
    """HEIF needs pillow_heif."""
    if file_format == "HEIF":
        import pillow_heif

        pillow_heif.register_heif_opener()
    file = io.BytesIO()
    image.save(file, file_format, **options)  # type: ignore[arg-type]
    return file.getvalue()
