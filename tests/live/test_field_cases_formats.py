"""Files that people send: phones' and shops' formats, other kinds, JPEGs without an end, arrays divided by 255."""

import io
import zipfile
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
from conftest import Server, run_server
from live.crafted import number, saved, tiff
from live.test_pictures import within_bounds
from live.test_refusals import huge_png, problem
from PIL import Image


@pytest.fixture(scope="module")
def bounded() -> Iterator[Server]:
    with run_server() as server:
        yield server


@pytest.fixture(scope="module")
def client(bounded: Server) -> Iterator[httpx.Client]:
    with bounded.client() as client:
        yield client


@pytest.fixture(autouse=True)
def bounds(bounded: Server, client: httpx.Client, boot: bytes, request: pytest.FixtureRequest) -> Iterator[None]:
    """For every test here; the seconds of many requests do not count."""
    with within_bounds(bounded, client, boot, many="many" in request.node.name):
        yield


def archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        packed.writestr("boot.png", b"boot")
    return file.getvalue()


def box(kind: bytes, content: bytes = b"") -> bytes:
    return (8 + len(content)).to_bytes(4, "big") + kind + content


GRAY = Image.new("L", (40, 30), 90)

FOREIGN = {
    "JPEG 2000": saved(GRAY, "JPEG2000"),
    "JPEG 2000 ": saved(GRAY, "JPEG2000", no_jp2=True),
    "JPEG XL": b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(100),
    "JPEG XL ": b"\xff\x0a" + bytes(100),
    "SVG": b'<?xml version="1.0" encoding="UTF-8"?>\n<!-- drawn -->\n<svg xmlns="http://www.w3.org/2000/svg"/>',
    "SVG ": b'\xef\xbb\xbf\n<svg width="3"/>',
    "PDF": saved(GRAY, "PDF"),
    "PSD": b"8BPS\0\1" + bytes(100),
    "ICO": saved(GRAY, "ICO"),
    "PPM": saved(GRAY.convert("RGB"), "PPM"),
    "PGM": saved(GRAY, "PPM"),
    "PBM": saved(GRAY.convert("1"), "PPM"),
    "EPS": saved(GRAY, "EPS"),
    "XCF": b"gimp xcf v011\0" + bytes(100),
    "CR2": b"II*\0\x10\0\0\0CR\2\0" + bytes(4000),
    "CR3": box(b"ftyp", b"crx \0\0\0\1crx isom") + bytes(100),
    "raw": tiff({259: number(34713), 271: (2, 18, b"NIKON CORPORATION\0")}),
    "DNG": tiff({259: number(52546), 50706: (1, 4, b"\1\7\0\0")}),
    "raw ": b"FUJIFILMCCD-RAW 0201" + bytes(100),
    "MP4": box(b"ftyp", b"isom\0\0\2\0isomiso2avc1mp41") + bytes(100),
    "MOV": box(b"ftyp", b"qt  \0\0\0\0qt  ") + bytes(100),
    "zip": archive(),
    "HTML": b"\n<!DOCTYPE html>\n<html><body><img src='boot.png'></body></html>",
    "npy": b"\x93NUMPY\1\0" + bytes(100),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_another_kind_is_named(client: httpx.Client, kind: str) -> None:
    answer = problem(client.post("/predict", files={"file": FOREIGN[kind]}), 415, "unsupported-format")
    assert kind.strip() in answer["detail"]
    assert ": " in answer["detail"]


def test_too_many_pixels_says_what_was_counted(client: httpx.Client) -> None:
    """A phone's 48 megapixels of JPEG pass, a screenshot's 24 of PNG do not."""
    phone = saved(Image.new("RGB", (8064, 6048), "white"), "JPEG", quality=50)
    assert client.post("/predict", content=phone).status_code == 200
    detail = problem(client.post("/predict", content=huge_png(6000, 4000)), 413, "too-many-pixels")["detail"]
    for told in ("6000×4000 = 24,000,000 pixels;", "16,000,000, GOOGLENET_MAX_PIXELS", "JPEG", "128,000,000"):
        assert told in detail
    webp = saved(Image.new("RGB", (4000, 3500)), "WEBP", method=0)
    detail = problem(client.post("/predict", content=webp), 413, "too-many-pixels")["detail"]
    assert "14,000,000 pixels, which count as 18,666,667 here" in detail
    large = saved(Image.new("L", (13_000, 10_000)), "JPEG", quality=30)
    detail = problem(client.post("/predict", content=large), 413, "too-many-pixels")["detail"]
    assert "130,000,000 pixels; the limit for its format is 128,000,000, 8 times GOOGLENET_MAX_PIXELS" in detail


def upright_boot(boot: bytes, size: tuple[int, int]) -> Image.Image:
    """In colour, on white, that large."""
    level = Image.open(io.BytesIO(boot)).convert("L").resize(size)
    return Image.eval(level, lambda value: 255 - value).convert("RGB")


JPEGS: dict[str, tuple[tuple[int, int], dict[str, object]]] = {
    "baseline": ((200, 200), {}),
    "progressive": ((200, 200), {"progressive": True}),
    "odd size": ((333, 241), {"quality": 95}),
    "tiny": ((28, 28), {}),
    "restart markers": ((200, 200), {"restart_marker_rows": 1}),
    "restart markers in rows": ((200, 200), {"restart_marker_blocks": 3}),
    "progressive with restart markers": ((200, 200), {"progressive": True, "restart_marker_rows": 1}),
    "full colours": ((160, 120), {"subsampling": 0, "optimize": True}),
    "reduced": ((1600, 1200), {}),
    "reduced, progressive": ((1600, 1200), {"progressive": True}),
    "phone": ((4000, 3000), {}),
}


@pytest.mark.parametrize("kind", JPEGS)
def test_a_jpeg_without_its_end(client: httpx.Client, boot: bytes, kind: str) -> None:
    """All pixels are there: answered as the whole one. So is one with anything behind its end."""
    size, options = JPEGS[kind]
    whole = saved(upright_boot(boot, size), "JPEG", **options)
    expected = client.post("/predict", content=whole).json()
    for content in (whole[:-2], whole[:-1], whole + b"\0" * 5000, whole + b"\xff\xd8\xff\xe1" + bytes(range(256)) * 9):
        answer = client.post("/predict", content=content)
        assert answer.status_code == 200, answer.text
        assert answer.json()["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-3)


@pytest.mark.parametrize("kind", JPEGS)
def test_a_jpeg_that_is_cut_for_many_places(client: httpx.Client, boot: bytes, kind: str) -> None:
    size, options = JPEGS[kind]
    whole = saved(upright_boot(boot, size), "JPEG", **options)
    scan = whole.index(b"\xff\xda")
    for cut in (12, 20, 50, *range((len(whole) - scan) // 20, len(whole) - scan, max(1, (len(whole) - scan) // 8))):
        problem(client.post("/predict", content=whole[:-cut]), 422, "undecodable-picture")


@pytest.mark.parametrize("rounding", [np.trunc, np.round])
def test_pictures_divided_by_255(client: httpx.Client, pictures: list[tuple[str, bytes]], rounding: np.ufunc) -> None:
    """What is left of them: an outline, where they were rounded; never certain."""
    right = 0
    sample = pictures[::5]
    for label, content in sample:
        array = np.asarray(Image.open(io.BytesIO(content)).convert("L")) / 255
        divided = saved(Image.fromarray(rounding(array).astype(np.uint8)), "PNG")
        answer = client.post("/predict", content=divided).json()
        right += answer["label"] == label
        if rounding(array).any():
            assert answer["preprocessing"]["certain"] is False
            native = client.post("/predict?mode=native", content=divided).json()["preprocessing"]
            assert native == {"mode": "native", "inverted": False, "crop": [0, 0, 28, 28], "certain": False}
    assert right >= (12 if rounding is np.round else 5), right


def test_a_photo_divided_by_255(client: httpx.Client, boot: bytes) -> None:
    """A dark boot on white, in colours and with transparency: what is left is its silhouette."""
    photo = np.asarray(upright_boot(boot, (400, 400)).convert("RGBA"))
    for bands in (3, 4):
        divided = saved(Image.fromarray(np.round(photo[..., :bands] / 255).astype(np.uint8)), "PNG")
        answer = client.post("/predict", content=divided).json()
        assert answer["label"] == "Ankle boot"
        assert answer["preprocessing"]["certain"] is False


@pytest.mark.parametrize(("dtype", "scale"), [(np.float32, 1 / 255), (np.float32, 1), (np.uint16, 1), (np.int32, 1)])
def test_arrays_of_other_types(client: httpx.Client, boot: bytes, dtype: type, scale: float) -> None:
    """A TIFF's samples may be 0–1 or 0–255 whatever their type could hold."""
    array = (np.asarray(Image.open(io.BytesIO(boot)).convert("L")) * scale).astype(dtype)
    expected = client.post("/predict", content=boot).json()
    answer = client.post("/predict", content=saved(Image.fromarray(array), "TIFF")).json()
    assert answer["probabilities"] == pytest.approx(expected["probabilities"], abs=0.02)
    if dtype is np.uint16:
        answer = client.post("/predict", content=saved(Image.fromarray(array), "PNG")).json()
        assert answer["probabilities"] == pytest.approx(expected["probabilities"], abs=0.02)
