"""What is sent: whole HTTP requests, rendered beforehand, so that a load generator only has to write bytes."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

PICTURES = Path(__file__).parent.parent / "tests" / "pictures"

BODIES = ("multipart", "raw", "jpeg")
"""A 28×28 PNG as a form field, the same as the whole body, and a 12-megapixel JPEG as a form field."""

PHOTO_SIZE = (4000, 3000)
BOUNDARY = "a-line-that-is-in-no-picture"


@dataclass(frozen=True)
class Body:
    """One request body and its content type."""

    content_type: str
    data: bytes

    def request(self, port: int, path: str) -> bytes:
        """The whole HTTP/1.1 request."""
        head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: {self.content_type}\r\n"
            f"Content-Length: {len(self.data)}\r\n\r\n"
        )
        return head.encode() + self.data


def form(name: str, content_type: str, data: bytes) -> Body:
    """One picture as the field `file` of a form."""
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        f"Content-Type: {content_type}\r\n\r\n"
    )
    return Body(f"multipart/form-data; boundary={BOUNDARY}", head.encode() + data + f"\r\n--{BOUNDARY}--\r\n".encode())


def pictures(kind: str) -> Iterator[Body]:
    """The hundred test pictures as bodies of this kind; of `jpeg` only one."""
    if kind == "jpeg":
        yield form("photo.jpg", "image/jpeg", photo())
        return
    for path in sorted(PICTURES.glob("*.png")):
        data = path.read_bytes()
        yield form(path.name, "image/png", data) if kind == "multipart" else Body("image/png", data)


def photo() -> bytes:
    """A garment as a camera might give it: 12 megapixels, JPEG in colour, some sensor noise; about 3 MB."""
    garment = Image.open(PICTURES / "coat-0006.png").convert("RGB").resize(PHOTO_SIZE, Image.Resampling.BICUBIC)
    noise = np.random.default_rng(0).normal(0, 4, (PHOTO_SIZE[1], PHOTO_SIZE[0], 1))
    noisy = (np.asarray(garment) + noise).clip(0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(noisy).save(file, "JPEG", quality=85)
    return file.getvalue()
