"""HTTP requests for the load generators. They are built before the load starts, so sending one only writes bytes."""

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

PICTURES = Path(__file__).parent.parent.parent / "tests" / "pictures"

BODIES = ("multipart", "raw", "jpeg")
"""multipart: a 28×28 PNG as a form field; raw: the PNG as the body; jpeg: a 12-megapixel JPEG as a form field."""

BATCH_SIZE = 64
"""Pictures in a body of kind `batch` or `pixels`."""

PHOTO_SIZE = (4000, 3000)
BOUNDARY = "boundary-of-the-form-parts"


@dataclass(frozen=True)
class Body:
    """One request body and its content type."""

    content_type: str
    data: bytes
    json_length: int | None = None
    """Bytes of JSON at the start of `data`, if binary tensors follow (/v2)."""

    def request(self, port: int, path: str) -> bytes:
        """The complete HTTP/1.1 request."""
        json_header = "" if self.json_length is None else f"Inference-Header-Content-Length: {self.json_length}\r\n"
        head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: {self.content_type}\r\n{json_header}"
            f"Content-Length: {len(self.data)}\r\n\r\n"
        )
        return head.encode() + self.data


def form(name: str, content_type: str, data: bytes) -> Body:
    """A form with one picture, in the field `file`."""
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        f"Content-Type: {content_type}\r\n\r\n"
    )
    return Body(f"multipart/form-data; boundary={BOUNDARY}", head.encode() + data + f"\r\n--{BOUNDARY}--\r\n".encode())


def batch(files: Sequence[Path]) -> Body:
    """A form for /predict/batch, with PNG files in the fields `files`."""
    head = '--{}\r\nContent-Disposition: form-data; name="files"; filename="{}"\r\nContent-Type: image/png\r\n\r\n'
    parts = [head.format(BOUNDARY, file.name).encode() + file.read_bytes() + b"\r\n" for file in files]
    return Body(f"multipart/form-data; boundary={BOUNDARY}", b"".join(parts) + f"--{BOUNDARY}--\r\n".encode())


def tensor(pixels: NDArray[np.uint8]) -> Body:
    """A binary /v2 request with preprocessed pictures, uint8 [n,96,96]."""
    description = {"name": "pixels", "datatype": "UINT8", "shape": pixels.shape}
    description["parameters"] = {"binary_data_size": pixels.nbytes}
    head = json.dumps({"inputs": [description], "parameters": {"binary_data_output": True}}).encode()
    return Body("application/octet-stream", head + pixels.tobytes(), len(head))


def pictures(kind: str) -> Iterator[Body]:
    """Bodies of one kind.

    multipart, raw: one for each of the hundred test pictures. jpeg: one photo. batch: one form with the first 64 test
    pictures. pixels: the same 64 in one /v2 request.
    """
    files = sorted(PICTURES.glob("*.png"))
    match kind:
        case "multipart":
            yield from (form(file.name, "image/png", file.read_bytes()) for file in files)
        case "raw":
            yield from (Body("image/png", file.read_bytes()) for file in files)
        case "jpeg":
            yield form("photo.jpg", "image/jpeg", photo())
        case "batch":
            yield batch(files[:BATCH_SIZE])
        case "pixels":
            yield tensor(
                np.stack([np.asarray(Image.open(file).convert("L").resize((96, 96))) for file in files[:BATCH_SIZE]])
            )
        case _:
            raise ValueError(f"{kind}: no kind of body")


def photo() -> bytes:
    """A garment as from a camera: a colour JPEG of 12 megapixels with sensor noise, about 3 MB."""
    garment = Image.open(PICTURES / "coat-0006.png").convert("RGB").resize(PHOTO_SIZE, Image.Resampling.BICUBIC)
    noise = np.random.default_rng(0).normal(0, 4, (PHOTO_SIZE[1], PHOTO_SIZE[0], 1))
    noisy = (np.asarray(garment) + noise).clip(0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(noisy).save(file, "JPEG", quality=85)
    return file.getvalue()
