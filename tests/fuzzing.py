"""Pictures and forms that nobody would send, made from valid ones of every format and mode.

python -m tests.fuzzing --count 20000      starts a server, sends them, and says what it was answered (make fuzz)

Whatever is sent, the answer is 200 or a documented 4xx with a problem in it, and the next good picture is classified.
"""

import argparse
import base64
import http.client
import io
import json
import random
import struct
import sys
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

from PIL import Image

ALLOWED = {200, 400, 413, 415, 422}
MODES = {
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "JPEG": ("L", "RGB", "CMYK"),
    "WEBP": ("RGB", "RGBA"),
    "GIF": ("1", "L", "P"),
    "BMP": ("1", "L", "P", "RGB"),
    "AVIF": ("L", "RGB", "RGBA"),
    "HEIF": ("L", "RGB", "RGBA"),
    "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F", "YCbCr", "LAB"),
}
TIFF_COMPRESSIONS = (None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")


def picture(mode: str, size: tuple[int, int] = (40, 30)) -> Image.Image:
    """A ramp in that mode."""
    ramp = Image.linear_gradient("L").resize(size)
    if mode == "I;16":
        return Image.frombytes("I;16", size, b"".join(struct.pack("<H", 257 * v) for v in ramp.tobytes()))
    if mode == "LAB":
        return Image.merge("LAB", (ramp, ramp, ramp))
    return ramp.convert("RGB").convert(mode) if mode in ("CMYK", "YCbCr", "P", "RGBA") else ramp.convert(mode)


def encode(image: Image.Image, file_format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **options)  # type: ignore[arg-type]
    return file.getvalue()


def corpus() -> dict[str, bytes]:
    """Valid files of every format and mode, by what they are; HEIC's where its reader is installed."""
    readable = dict(MODES)
    if find_spec("pillow_heif"):
        import pillow_heif

        pillow_heif.register_heif_opener()
    else:
        del readable["HEIF"]
    files = {f"{f} {mode}": encode(picture(mode), f) for f, modes in readable.items() for mode in modes}
    files["AVIF animated"] = encode(picture("RGB"), "AVIF", save_all=True, append_images=[picture("RGB")] * 3)
    files["PNG palette with transparency"] = encode(picture("P"), "PNG", transparency=3)
    files["PNG gray with transparency"] = encode(picture("L"), "PNG", transparency=3)
    files["GIF animated"] = encode(picture("P"), "GIF", save_all=True, append_images=[picture("P")] * 3, transparency=1)
    files["WEBP animated"] = encode(picture("RGB"), "WEBP", save_all=True, append_images=[picture("RGBA")] * 3)
    files["WEBP lossless"] = encode(picture("RGBA"), "WEBP", lossless=True)
    files["JPEG progressive"] = encode(picture("RGB"), "JPEG", progressive=True)
    files["JPEG large"] = encode(picture("RGB", (1400, 900)), "JPEG")
    exif = Image.Exif()
    exif[0x0112] = 6
    for file_format in sorted({"JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"} & readable.keys()):
        files[f"{file_format} turned"] = encode(picture("RGB"), file_format, exif=exif)
    for compression in TIFF_COMPRESSIONS:
        files[f"TIFF {compression}"] = encode(picture("RGB"), "TIFF", compression=compression)
    return files


def flip_bits(data: bytearray, chance: random.Random) -> None:
    for _ in range(chance.choice((1, 1, 2, 8, 50))):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def cut(data: bytearray, chance: random.Random) -> None:
    del data[chance.randrange(1, len(data)) :]


def remove(data: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(data))
    del data[start : start + chance.randrange(1, 64)]


def insert(data: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(data))
    data[start:start] = chance.randbytes(chance.randrange(1, 64))


def repeat(data: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(data))
    data[start:start] = data[start : start + chance.randrange(1, 200)] * chance.choice((1, 2, 20))


def set_number(data: bytearray, chance: random.Random) -> None:
    """Puts an awkward number where one may be: sizes, offsets and counts are what readers trust."""
    value = chance.choice((0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, len(data)))
    form = chance.choice(("<H", ">H", "<I", ">I", "B"))
    number = struct.pack(form, value & (1 << 8 * struct.calcsize(form)) - 1)
    start = chance.randrange(max(1, min(len(data), chance.choice((64, 1 << 30))) - len(number)))
    data[start : start + len(number)] = number


def mend_png(data: bytearray, chance: random.Random) -> None:
    """Changes a byte in a chunk and puts its checksum right, so that a reader goes on to what is behind it."""
    if data[:4] != b"\x89PNG":
        return flip_bits(data, chance)
    at, chunks = 8, []
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if at + 12 + length <= len(data):
            chunks.append((at, length))
        at += 12 + length
    at, length = chance.choice(chunks) if chunks else (0, 0)
    if length:
        data[at + 8 + chance.randrange(length)] = chance.randrange(256)
        data[at + 8 + length : at + 12 + length] = zlib.crc32(data[at + 4 : at + 8 + length]).to_bytes(4, "big")
    return None


MUTATIONS: tuple[Callable[[bytearray, random.Random], None], ...] = (
    *(flip_bits, cut, remove, insert, repeat),
    *(set_number, set_number, mend_png),
)


def mutate(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        if len(changed) > 1:
            chance.choice(MUTATIONS)(changed, chance)
    return bytes(changed)


def form(content: bytes) -> bytes:
    head = b'Content-Disposition: form-data; name="file"; filename="x.png"\r\nContent-Type: image/png'
    return b"--limit\r\n" + head + b"\r\n\r\n" + content + b"\r\n--limit--\r\n"


Case = tuple[str, str, bytes]
"""Path, content type, body."""

DEFLATED = " deflated"
"""Behind the content type of a case: its Content-Encoding."""


def cases(seed: int, count: int) -> Iterator[Case]:
    """The same for the same seed."""
    chance = random.Random(seed)  # noqa: S311
    files = list(corpus().values())
    multipart = "multipart/form-data; boundary=limit"
    for _ in range(count):
        data = chance.choice(files)
        query = chance.choice(("", "", "?mode=native", "?mode=photo", "?background=dark", "?top_k=3"))
        match chance.randrange(9):
            case 0:
                yield f"/predict{query}", multipart, mutate(form(data), chance)
            case 1:
                yield f"/predict/batch{query}", multipart, mutate(form(data).replace(b'"file"', b'"files"'), chance)
            case 2:  # one file ends as another: a polyglot
                other = chance.choice(files)
                cut_at = chance.randrange(len(data))
                yield f"/predict{query}", "image/png", data[:cut_at] + other[chance.randrange(len(other)) :]
            case 3:
                document = b'{"image": "%s"}' % base64.b64encode(data)
                yield f"/predict{query}", "application/json", mutate(document, chance)
            case 4:
                encoded = base64.b64encode(data).replace(b"+", b"%2B")
                yield f"/predict{query}", "application/x-www-form-urlencoded", mutate(b"file=" + encoded, chance)
            case 5:
                packed = zlib.compress(mutate(data, chance))
                yield f"/explain{query}", f"image/png{DEFLATED}", chance.choice((packed, mutate(packed, chance)))
            case _:
                yield f"/predict{query}", chance.choice(("image/png", "application/octet-stream")), mutate(data, chance)


class Run:
    """Sends cases over a few connections; `wrong` are those that were answered as they must not be."""

    def __init__(self, url: str, todo: Iterator[Case]) -> None:
        self.address = url.removeprefix("http://")
        self.answered: Counter[int] = Counter()
        self.wrong: list[tuple[Case, str]] = []
        self.slowest = 0.0
        self._todo, self._lock = todo, threading.Lock()

    def __call__(self, connections: int = 4) -> None:
        threads = [threading.Thread(target=self._send_all) for _ in range(connections)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _send_all(self) -> None:
        connection = http.client.HTTPConnection(self.address, timeout=60)
        while True:
            with self._lock:
                case = next(self._todo, None)
            if case is None:
                break
            started = time.monotonic()
            complaint = self._send(connection, case)
            self.slowest = max(self.slowest, time.monotonic() - started)
            if complaint:
                self.wrong.append((case, complaint))
                connection.close()
        connection.close()

    def _send(self, connection: http.client.HTTPConnection, case: Case) -> str | None:
        path, content_type, body = case
        try:
            media_type, deflated, _ = content_type.partition(DEFLATED)
            headers = {"Content-Type": media_type, **({"Content-Encoding": "deflate"} if deflated else {})}
            connection.request("POST", path, body, headers)
            response = connection.getresponse()
            answer = json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            return f"{type(error).__name__}: {error}"
        self.answered[response.status] += 1
        if response.status not in ALLOWED:
            return f"{response.status} {answer}"
        if response.status != 200 and not {"status", "code", "title", "detail"} <= set(answer):
            return f"{response.status} without a problem: {answer}"
        return None


def main() -> int:
    parser = argparse.ArgumentParser(description="Sends mutated pictures and forms to a server.")
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("runs/fuzz"), help="where offending bodies are kept")
    arguments = parser.parse_args()
    from tests.conftest import run_server

    with run_server() as server:
        run = Run(server.url, cases(arguments.seed, arguments.count))
        run()
        with server.client() as client:
            healthy = client.get("/health").status_code == 200
        complaints = [line for line in server.log if "Traceback" in line]
    for number, (case, complaint) in enumerate(run.wrong):
        arguments.keep.mkdir(parents=True, exist_ok=True)
        (arguments.keep / f"{arguments.seed}-{number}").write_bytes(case[2])
        print(case[0], case[1], complaint)
    print(f"{sum(run.answered.values())} answers, by status: {dict(sorted(run.answered.items()))}")
    print(f"slowest {run.slowest:.2f} s; {len(run.wrong)} wrong, {len(complaints)} tracebacks, healthy: {healthy}")
    return 0 if healthy and not run.wrong and not complaints else 1


if __name__ == "__main__":
    sys.exit(main())
