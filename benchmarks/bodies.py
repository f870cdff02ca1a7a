"""What is sent: whole HTTP requests, rendered beforehand, so that a load generator only has to write bytes."""

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

PICTURES = Path(__file__).parent.parent / "tests" / "pictures"

BODIES = ("multipart", "raw", "jpeg")
"""A 28×28 PNG as a form field, the same as the whole body, and a 12-megapixel JPEG as a form field."""

BATCH = 64
"""Pictures in a body of the kind `batch`."""

PHOTO_SIZE = (4000, 3000)
BOUNDARY = "a-line-that-is-in-no-picture"


@dataclass(frozen=True)
class Body:
    """One request body and its content type."""

    content_type: str
    data: bytes
    head: int | None = None
    """Of `data`, the bytes that are JSON, where tensors follow it (/v2)."""

    def request(self, port: int, path: str) -> bytes:
        """The whole HTTP/1.1 request."""
        inference = "" if self.head is None else f"Inference-Header-Content-Length: {self.head}\r\n"
        head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: {self.content_type}\r\n{inference}"
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


def batch(files: Sequence[Path]) -> Body:
    """Several PNG files as the fields `files` of one form, for /predict/batch."""
    head = '--{}\r\nContent-Disposition: form-data; name="files"; filename="{}"\r\nContent-Type: image/png\r\n\r\n'
    parts = [head.format(BOUNDARY, file.name).encode() + file.read_bytes() + b"\r\n" for file in files]
    return Body(f"multipart/form-data; boundary={BOUNDARY}", b"".join(parts) + f"--{BOUNDARY}--\r\n".encode())


def pixels() -> Body:
    """As many pictures, ready for the network, as one /v2 request in binary."""
    files = sorted(PICTURES.glob("*.png"))[:BATCH]
    ready = np.stack([np.asarray(Image.open(file).convert("L").resize((96, 96))) for file in files])
    tensor = {"name": "pixels", "datatype": "UINT8", "shape": ready.shape}
    tensor["parameters"] = {"binary_data_size": ready.nbytes}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    return Body("application/octet-stream", head + ready.tobytes(), len(head))


def pictures(kind: str) -> Iterator[Body]:
    """The hundred test pictures as bodies of this kind.

    One alone of `jpeg`, of `batch` (the first 64 in one form) and of `pixels` (the same in one /v2 request).
    """
    if kind == "pixels":
        yield pixels()
        return
    if kind == "jpeg":
        yield form("photo.jpg", "image/jpeg", photo())
        return
    if kind == "batch":
        yield batch(sorted(PICTURES.glob("*.png"))[:BATCH])
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
